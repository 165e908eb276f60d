"""FAMILIES: one entry per model family: how it is recognised, loaded and what it can do."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Ability = Literal["text_to_image", "image_to_image", "lora", "controlnet", "clip_skip", "vae"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What all models of one architecture have in common.

    `pipelines` names the diffusers class for each of `text_to_image`, `image_to_image`,
    `controlnet` and `controlnet_image_to_image`. `native_size` is the side, in pixels, of
    the square that its models were trained on. `context_width` is the width of the text embedding
    that its denoiser reads, which tells the Stable Diffusion versions apart. `vaes` is the family
    whose VAEs fit: those of Stable Diffusion 1 and 2 are alike, and nothing in a file tells which
    of the two it came with.
    """

    title: str
    pipelines: Mapping[str, str]
    config: str
    """Folder below `generation/runtime/configs/` with what a single file does not carry."""
    native_size: int
    steps: int
    guidance_scale: float
    sampler: str
    abilities: frozenset[Ability]
    vaes: str
    context_width: int
    bytes_at_half: int
    """Memory of the weights in half precision, for `doctor` and the choice of memory mode."""


STABLE_DIFFUSION: Final[Mapping[str, str]] = {
    "text_to_image": "StableDiffusionPipeline",
    "image_to_image": "StableDiffusionImg2ImgPipeline",
    "controlnet": "StableDiffusionControlNetPipeline",
    "controlnet_image_to_image": "StableDiffusionControlNetImg2ImgPipeline",
}

STABLE_DIFFUSION_ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "clip_skip", "vae")
)

FAMILIES: Final[dict[str, Family]] = {
    "sd1": Family(
        title="Stable Diffusion 1.x",
        pipelines=STABLE_DIFFUSION,
        config="sd1",
        native_size=512,
        steps=20,
        guidance_scale=7.0,
        sampler="DPM++ 2M Karras",
        abilities=STABLE_DIFFUSION_ABILITIES,
        vaes="sd1",
        context_width=768,
        bytes_at_half=2_130_000_000,
    ),
    "sd2": Family(
        title="Stable Diffusion 2.x",
        pipelines=STABLE_DIFFUSION,
        config="sd2",
        native_size=768,
        steps=20,
        guidance_scale=7.0,
        sampler="DPM++ 2M Karras",
        abilities=STABLE_DIFFUSION_ABILITIES,
        vaes="sd1",
        context_width=1024,
        bytes_at_half=2_580_000_000,
    ),
}

RECOGNISED: Final[dict[str, str]] = {
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "Stable Diffusion XL refiner",
    "sd3": "Stable Diffusion 3",
    "flux": "Flux.1",
}
"""Families that the catalogue names, so that nobody takes their files for broken ones."""
