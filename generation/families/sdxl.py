"""Stable Diffusion XL: a larger UNet that reads two text encoders, and is told sizes."""

from typing import Final

from generation.families.family import Ability, Family, TextEncoder

ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "vae")
)
BIG_G: Final = TextEncoder(
    part="text_encoder_2", tokenizer="tokenizer_2", layer=2, final_norm=False, pooled=True
)

SDXL: Final = Family(
    title="Stable Diffusion XL",
    network="unet",
    pipeline="StableDiffusionXLPipeline",
    config="sdxl",
    encoders=(
        TextEncoder(part="text_encoder", tokenizer="tokenizer", layer=2, final_norm=False),
        BIG_G,
    ),
    size_conditioning="size",
    native_size=1024,
    steps=25,
    guidance_scale=6.0,
    sampler="DPM++ 2M Karras",
    abilities=ABILITIES,
    vaes="sdxl",
    context_width=2048,
    bytes_at_half={
        "unet": 5_135_000_000,
        "text_encoder": 246_000_000,
        "text_encoder_2": 1_390_000_000,
        "vae": 167_000_000,
    },
)

REFINER: Final = Family(
    title="Stable Diffusion XL refiner",
    network="unet",
    pipeline="StableDiffusionXLImg2ImgPipeline",
    config="sdxl-refiner",
    encoders=(BIG_G,),
    size_conditioning="aesthetic",
    native_size=1024,
    steps=25,
    guidance_scale=6.0,
    sampler="DPM++ 2M Karras",
    abilities=ABILITIES,
    vaes="sdxl",
    context_width=1280,
    bytes_at_half={"unet": 4_518_000_000, "text_encoder_2": 1_390_000_000, "vae": 167_000_000},
)
