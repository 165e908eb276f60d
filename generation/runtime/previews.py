"""Small pictures of latents, by a linear map that is fitted to the model's own VAE."""

import io
import time
from typing import Any

import torch
from PIL import Image

from generation.runtime.checkpoints import Checkpoint

FIT_SIDE = 128  # pixels of the pictures that the map is fitted on
FIT_PICTURES = 4
SHEET_MAX = 512  # pixels of the longer side of what is shown
SIDE_MAX = 256  # pixels of the longer side of one picture in it


class Previews:
    """At most one preview in `every` seconds; none where `every` is 0."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = 0.0

    def due(self) -> bool:
        """Whether it is time for one; then the clock starts anew."""
        now = time.monotonic()
        if not self._every or now - self._last < self._every:
            return False
        self._last = now
        return True


def preview(model: Checkpoint, latents: torch.Tensor) -> bytes:
    """A JPEG of latents as the denoiser has them; the map is fitted once for each VAE."""
    vae = model.vae
    if not hasattr(vae, "preview_map"):
        vae.preview_map = fit_map(vae, latents.device)
    return to_jpeg(latents / vae.config.scaling_factor, vae.preview_map)


def fit_map(vae: Any, device: torch.device) -> torch.Tensor:
    """The matrix (channels + 1, 3) that best maps a latent pixel to the mean colour under it.

    Least squares on smooth random pictures that the VAE encodes: every VAE gets a map of its own.
    One that overflows in half precision gets a grey one.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    coarse = torch.rand((FIT_PICTURES, 3, 6, 6), generator=generator) * 2 - 1
    size = (FIT_SIDE, FIT_SIDE)
    pictures = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(-1, 1)
    with torch.no_grad():
        encoded = vae.encode(pictures.to(device, vae.dtype)).latent_dist
    latents = encoded.mean.float().cpu().nan_to_num(0, 0, 0)
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures, latents.shape[-2:])
    inputs = latents.movedim(1, -1).reshape(-1, latents.shape[1])
    # a little weight on small coefficients keeps the sum solvable for latents of a constant
    inputs = torch.cat((inputs, torch.ones(len(inputs), 1)), dim=1).double()
    ridge = 1e-6 * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
    targets = colours.movedim(1, -1).reshape(-1, 3).double()
    solution: torch.Tensor = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return solution.float()


def to_jpeg(latents: torch.Tensor, map_: torch.Tensor) -> bytes:
    """Latents of shape (N, C, h, w), as the VAE would be given them: N pictures, row after row.

    Up to four lie two by two, as Discord shows the finished ones; more in three columns.
    """
    values = latents.detach().float().cpu().movedim(1, -1)
    colours = (values @ map_[:-1] + map_[-1] + 1) * 127.5
    pictures = colours.nan_to_num().round().clamp(0, 255).to(torch.uint8)
    count, high, wide = pictures.shape[:3]
    across = 1 if count == 1 else 2 if count <= 4 else 3
    down = -(-count // across)
    scale = min(SIDE_MAX / max(wide, high), SHEET_MAX / max(wide * across, high * down))
    size = (max(1, int(wide * scale)), max(1, int(high * scale)))
    sheet = Image.new("RGB", (size[0] * across, size[1] * down))
    for place, picture in enumerate(pictures):
        shown = Image.fromarray(picture.numpy()).resize(size, Image.Resampling.BICUBIC)
        sheet.paste(shown, (place % across * size[0], place // across * size[1]))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=80)
    return file.getvalue()
