"""What the part of a picture that is drawn anew begins with: its own content, the colours around
it, noise, or nothing, as A1111 has them.
"""

from typing import Final

import torch
from PIL import Image, ImageChops, ImageFilter

from generation.request import GenerationRequest
from generation.request_fields import MaskedContent
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.latents import fills
from generation.runtime.masks import MaskedLatents

BLURS: Final = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Radius of a Gaussian in pixels, and how often its picture is laid over those before it."""


def filled(picture: Image.Image, drawn: Image.Image, *, canvas: bool = False) -> Image.Image:
    """A picture in RGB whose part that is drawn anew has the colours around it, flowing into it;
    `drawn`, in greys, is white there.

    Source of the recipe: `fill` of A1111's modules/masking.py: what stays is blurred, from far to
    near, and each blur laid over the one before as far as it reaches. On a `canvas` the picture's
    edge is drawn out already, and seen where none does.
    """
    stays = picture.convert("RGBA")
    stays.putalpha(ImageChops.invert(drawn))
    # blurred with the alpha multiplied in, so that what is masked has no colour
    outside = stays.convert("RGBa")
    found = picture.convert("RGBA") if canvas else Image.new("RGBA", picture.size)
    for radius, times in BLURS:
        blurred = outside.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            found.alpha_composite(blurred)
    return found.convert("RGB")


def begins_as_trained(request: GenerationRequest, model: Checkpoint) -> bool:
    """Whether a model for inpainting begins with noise alone, and is shown what stays: all is drawn
    anew, and nobody asks for another content or for greys.
    """
    return (
        fills(model)
        and request.denoising_strength == 1
        and request.masked_content == "original"
        and request.differential == "off"
    )


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
