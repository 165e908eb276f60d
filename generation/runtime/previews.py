"""Small pictures of latents, by a linear map from their channels to colours."""

import io
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from generation.kept_file import KeptFile
from generation.runtime.autoencoders import make_of
from generation.runtime.checkpoints import Checkpoint

FIT_SIDE = 64  # pixels of the pictures that the map is fitted on
FIT_PICTURES = 4
SHEET_MAX = 512  # pixels of the longer side of what is shown
SIDE_MAX = 256  # pixels of the longer side of one picture in it


class Previews:
    """At most one preview in `every` seconds; none where `every` is 0."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = 0.0

    @property
    def wanted(self) -> bool:
        """Whether there will be any."""
        return self._every > 0

    def due(self) -> bool:
        """Whether it is time for one; then the clock starts anew."""
        now = time.monotonic()
        if not self._every or now - self._last < self._every:
            return False
        self._last = now
        return True


class Maps:
    """How latents become colours: a family's own constants where the VAE is the published one, else
    a map that is fitted to the VAE, once for each file, and kept in the cache folder.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = KeptFile(folder / "preview_maps.json")

    def of(self, model: Checkpoint, device: torch.device) -> torch.Tensor:
        """The matrix (channels + 1, 3) for latents as the denoiser has them.

        Where it must be fitted the VAE encodes four small pictures, so it must be at work.
        """
        vae, latents = model.vae, model.family.latents
        make = make_of(vae)
        if latents.colours and make.is_published(vae, latents):
            return torch.tensor(latents.colours)
        key = "|".join(map(str, vae.stamp))
        channels = make.channels(vae)
        found = self._read(key, channels)
        if found is None:
            found = fit_map(vae, device)
            self._kept.found[key] = found.tolist()
            self._kept.save()
        scale, shift = (
            torch.as_tensor(figure, dtype=torch.float32).reshape(-1, 1).expand(channels, 1)
            for figure in make.scaling(vae, torch.device("cpu"))
        )
        bias = found[-1:] + (shift * found[:-1]).sum(0, keepdim=True)
        return torch.cat((found[:-1] / scale, bias))

    def _read(self, key: str, channels: int) -> torch.Tensor | None:
        try:
            found = torch.tensor(self._kept.found.get(key), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            return None
        return found if found.shape == (channels + 1, 3) else None


def fit_map(vae: Any, device: torch.device) -> torch.Tensor:
    """The matrix (channels + 1, 3) that best maps a latent pixel, as the VAE gives it, to the mean
    colour under it.

    Least squares on smooth random pictures that the VAE encodes: every VAE gets a map of its own.
    One that overflows in half precision gets a grey one.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    coarse = torch.rand((FIT_PICTURES, 3, 6, 6), generator=generator) * 2 - 1
    size = (FIT_SIDE, FIT_SIDE)
    pictures = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(-1, 1)
    with torch.no_grad():
        mean, _ = make_of(vae).encode(vae, pictures.to(device, vae.dtype))
    latents = mean.float().cpu().nan_to_num(0, 0, 0)
    high, wide = latents.shape[-2:]
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures, (high, wide))
    inputs = latents.movedim(1, -1).reshape(-1, latents.shape[1])
    # a little weight on small coefficients keeps the sum solvable for latents of a constant
    inputs = torch.cat((inputs, torch.ones(len(inputs), 1)), dim=1).double()
    ridge = 1e-6 * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
    targets = colours.movedim(1, -1).reshape(-1, 3).double()
    solution: torch.Tensor = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return solution.float()


def to_jpeg(latents: torch.Tensor, map_: torch.Tensor) -> bytes:
    """Latents of shape (N, C, h, w), as the denoiser has them: N pictures, row after row.

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
