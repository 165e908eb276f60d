"""Stable Diffusion 1 and 2: a UNet that reads one CLIP text encoder."""

from typing import Final

from generation.families.family import Ability, Family, TextEncoder

ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "clip_skip", "vae")
)

SD1: Final = Family(
    title="Stable Diffusion 1.x",
    network="unet",
    pipeline="StableDiffusionPipeline",
    config="sd1",
    encoders=(TextEncoder(part="text_encoder", tokenizer="tokenizer"),),
    native_size=512,
    steps=20,
    guidance_scale=7.0,
    sampler="DPM++ 2M Karras",
    abilities=ABILITIES,
    vaes="sd1",
    context_width=768,
    bytes_at_half={"unet": 1_719_000_000, "text_encoder": 246_000_000, "vae": 167_000_000},
)

SD2: Final = Family(
    title="Stable Diffusion 2.x",
    network="unet",
    pipeline="StableDiffusionPipeline",
    config="sd2",
    encoders=(TextEncoder(part="text_encoder", tokenizer="tokenizer"),),
    native_size=768,
    steps=20,
    guidance_scale=7.0,
    sampler="DPM++ 2M Karras",
    abilities=ABILITIES,
    vaes="sd1",
    context_width=1024,
    bytes_at_half={"unet": 1_732_000_000, "text_encoder": 681_000_000, "vae": 167_000_000},
)
