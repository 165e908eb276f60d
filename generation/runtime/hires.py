"""The two passes of a picture that is drawn small, enlarged and drawn anew: A1111's hires. fix.

Source: `sample_hr_pass` of A1111's webui (modules/processing.py), and for plain upscalers its
modules/upscaler.py and images.py.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
import torch
from PIL import Image
from torch.nn import functional

from generation import hires
from generation.enlarged_sizes import between_passes
from generation.families import Family
from generation.hires import LATENT_UPSCALERS
from generation.hires_sizes import HiresSizes
from generation.messages import Generate
from generation.models import ModelFile
from generation.request import GenerationRequest
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.enlargement import by_upscaler
from generation.runtime.latents import StartPicture, pixels_of
from generation.runtime.parts import Parts
from generation.runtime.tiling import Tiles, tiles_of
from generation.samplers import SAMPLERS, sampler_of


class Pass(NamedTuple):
    """One of the passes that a job's pictures go through."""

    number: int
    """From 0."""
    work: Generate
    """The job, with what is drawn in this pass for its request."""
    tiles: Tiles
    units: int
    """Steps, in those of the first pass: a step over a larger picture is several."""
    passed: int | None = None
    """Calls of the denoiser in the pass before, on from which numbers in prompts count."""

    @property
    def request(self) -> GenerationRequest:
        return self.work.request

    @property
    def again(self) -> bool:
        """Whether it goes over what another has drawn."""
        return self.number > 0

    @property
    def stage(self) -> Literal["denoising", "hires"]:
        """How its progress is called."""
        return "hires" if self.again else "denoising"


def passes_of(work: Generate, family: Family) -> tuple[Pass, ...]:
    """The passes of a job, in order: one, or with a hires pass two."""
    found: list[Pass] = []
    for number, request in enumerate(hires.passes(work.request)):
        tiles = tiles_of(request.width, request.height, request.tile, family.side_step)
        one = tiles[0]
        pixels = (one.bottom - one.top) * (one.right - one.left)
        units, passed = request.steps * len(tiles), _passed(work, request)
        if found:
            small = found[0].request
            units = max(1, round(units * pixels / (small.width * small.height)))
            passed = calls_of(small)
        own = msgspec.structs.replace(work, request=request)
        found.append(Pass(number, own, tiles, units, passed))
    return tuple(found)


def calls_of(request: GenerationRequest) -> int:
    """How often the denoiser is called over all steps."""
    return request.steps * SAMPLERS[sampler_of(request)].order


def enlarged_latents(
    latents: torch.Tensor, name: str, sizes: HiresSizes, factor: int
) -> torch.Tensor:
    """Latents (N, C, h, w) interpolated, as one of LATENT_UPSCALERS does, and cut out; `factor` is
    that of pixels to latents.
    """
    wide, high = (side // factor for side in sizes.enlarged)
    how = LATENT_UPSCALERS[name]
    found = functional.interpolate(latents, (high, wide), mode=how.mode, antialias=how.antialias)
    return cut_out(found, sizes, factor)


def cut_out(latents: torch.Tensor, sizes: HiresSizes, factor: int) -> torch.Tensor:
    """The middle of latents (N, C, h, w); of an odd number the more goes from right and below."""
    wide, high = (side // factor for side in sizes.made)
    left, top = (latents.shape[3] - wide) // 2, (latents.shape[2] - high) // 2
    return latents[:, :, top : top + high, left : left + wide]


def enlarged_picture(
    parts: Parts,
    name: str,
    file: ModelFile | None,
    picture: Image.Image,
    size: tuple[int, int],
    after_tile: Callable[[float], None],
) -> Image.Image:
    """The picture at `size` in pixels, by way of the sizes that A1111 goes: its upscalers make
    multiples of eight, and Lanczos the rest.
    """
    first, then = between_passes(name, picture.size, size)
    if first is not None:
        picture = by_upscaler(parts, name, file, picture, first, after_tile)
    for step in then:
        if picture.size != step:
            picture = picture.resize(step, Image.Resampling.LANCZOS)
    return picture


def encoded(
    model: Checkpoint,
    pictures: Sequence[Image.Image],
    seeds: Sequence[int],
    sizes: HiresSizes,
    tiles: Tiles,
    device: torch.device,
    *,
    drawn: bool,
) -> torch.Tensor:
    """Enlarged pictures as latents (N, C, h, w) that are cut out. Where they are `drawn`, it is as
    A1111 has it: with what torch's own generator gives after it was given the picture's seed.

    Raises NotFiniteError.
    """
    if sizes.enlarged != sizes.made:
        tiles = tiles_of(*sizes.enlarged, 0)
    found = []
    for picture, seed in zip(pictures, seeds, strict=True):
        start = StartPicture.of(model, pixels_of(picture, device), tiles)
        noise = None
        if drawn:
            generator = torch.Generator("cpu").manual_seed(seed)
            noise = torch.randn(start.mean.shape, generator=generator).to(device)
        found.append(cut_out(start.latents(noise, 1), sizes, model.factor))
    return torch.cat(found)


def _passed(work: Generate, request: GenerationRequest) -> int | None:
    """In a second pass over a finished picture numbers count on from a first of as many steps."""
    return None if work.enlargement is None else calls_of(request)
