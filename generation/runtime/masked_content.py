"""What the part of a picture that is drawn anew begins with: its own content, the colours around
it, noise, or nothing, as A1111 has them.
"""

import torch

from generation.request_fields import MaskedContent
from generation.runtime.masks import MaskedLatents


def beginning(
    content: MaskedContent, latents: torch.Tensor, drawn: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Latents (N, C, h, w) as the drawn part, 1 in `drawn` (1, 1, h, w), begins with; `noise` is
    what the pictures' seeds draw first.
    """
    if content == "latent noise":
        return MaskedLatents(drawn, latents).over(noise)
    if content == "latent nothing":
        return MaskedLatents(drawn, latents).over(torch.zeros_like(latents))
    return latents
