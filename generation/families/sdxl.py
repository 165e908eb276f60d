"""Stable Diffusion XL: a larger UNet that reads two text encoders, and is told sizes."""

from typing import Final

from generation.families.family import Ability, Beside, Family, Latents, TextEncoder
from generation.families.few_steps import FEW_STEPS, READS_GUIDANCE
from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import (
    BOTH,
    SIZE_EMBEDDING,
    UNET_ENDS,
    UNET_SECTIONS,
    attention,
    autoencoder,
    clip_text,
    open_clip_text,
    resnets,
)
from generation.models import ModelKind

VARIANTS: Final = frozenset(
    ("", "inpainting", "instruct-pix2pix", "t2i-adapter", "union", "union-promax")
)
ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "clip_skip", "vae")
)
"""Clip skip changes nothing, as in A1111: its encoders' last layer is left out always."""
BUCKETS: Final = ((1024, 1024), (1152, 896), (1216, 832), (1344, 768), (1536, 640))
"""Those that were published with it."""
BIG_G: Final = TextEncoder(
    part="text_encoder_2", tokenizer="tokenizer_2", layer=2, final_norm=False, pooled=True
)
LATENTS: Final = Latents(
    scale=0.13025,
    colours=(
        (0.3651, 0.4232, 0.4341),
        (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362),
        (-0.3165, -0.2492, -0.2188),
        (0.1084, -0.0175, -0.0011),
    ),
)
"""Colours as measured for ComfyUI (`comfy/latent_formats.py`, SDXL)."""
UNET: Final = Part(
    title="denoiser",
    begins="model.diffusion_model.",
    published=ShapeSide("^input_blocks.0.0.weight$", 0, frozenset((320,))),
    sections=UNET_SECTIONS,
    may_have=READS_GUIDANCE,
    tensors=(
        *UNET_ENDS,
        *SIZE_EMBEDDING,
        f"input_blocks.{{3,6}}.0.op.{BOTH}",
        *resnets("input_blocks.{1,2,4,5,7,8}.0"),
        *resnets("middle_block.{0,2}"),
        *resnets("output_blocks.{0..8}.0"),
        f"{{input_blocks.4,input_blocks.7}}.0.skip_connection.{BOTH}",
        f"output_blocks.{{0..8}}.0.skip_connection.{BOTH}",
        *attention("input_blocks.{4,5}.1", 2),
        *attention("input_blocks.{7,8}.1", 10),
        *attention("middle_block.1", 10),
        *attention("output_blocks.{0..2}.1", 10),
        *attention("output_blocks.{3..5}.1", 2),
        f"output_blocks.{{2,5}}.2.conv.{BOTH}",
    ),
)
REFINER_UNET: Final = Part(
    title="denoiser",
    begins="model.diffusion_model.",
    published=ShapeSide("^input_blocks.0.0.weight$", 0, frozenset((384,))),
    sections=UNET_SECTIONS,
    tensors=(
        *UNET_ENDS,
        *SIZE_EMBEDDING,
        f"input_blocks.{{3,6,9}}.0.op.{BOTH}",
        *resnets("input_blocks.{1,2,4,5,7,8,10,11}.0"),
        *resnets("middle_block.{0,2}"),
        *resnets("output_blocks.{0..11}.0"),
        f"{{input_blocks.4,input_blocks.7}}.0.skip_connection.{BOTH}",
        f"output_blocks.{{0..11}}.0.skip_connection.{BOTH}",
        *attention("input_blocks.{4,5,7,8}.1", 4),
        *attention("middle_block.1", 4),
        *attention("output_blocks.{3..8}.1", 4),
        f"output_blocks.2.1.conv.{BOTH}",
        f"output_blocks.{{5,8}}.2.conv.{BOTH}",
    ),
)
VAE: Final = autoencoder("first_stage_model.")
CLIP_L: Final = clip_text("conditioner.embedders.0.transformer.text_model.", "first text encoder")
DENOISER: Final = ("^input_blocks.", "^label_emb.0.0.weight$")


def _big_g(number: int) -> Part:
    title = "second text encoder" if number else "text encoder"
    begins = f"conditioner.embedders.{number}.model."
    return open_clip_text(begins, 32, 1280, projection=True, title=title)


def _base(*needs: str, sides: tuple[ShapeSide, ...] = ()) -> Layout:
    return Layout(
        kind=ModelKind.CHECKPOINT,
        family="sdxl",
        needs=needs,
        sides=sides,
        parts=(UNET, CLIP_L, _big_g(1), VAE),
    )


def _refiner(*needs: str, sides: tuple[ShapeSide, ...] = ()) -> Layout:
    return Layout(
        kind=ModelKind.CHECKPOINT,
        family="sdxl-refiner",
        needs=needs,
        sides=sides,
        parts=(REFINER_UNET, _big_g(0), VAE),
    )


def _context(width: int) -> tuple[ShapeSide, ...]:
    """The width of the text embedding that the denoiser attends to."""
    return (ShapeSide(".attn2.to_k.weight$", 1, frozenset((width,))),)


SDXL: Final = Family(
    title="Stable Diffusion XL",
    network="unet",
    pipeline="StableDiffusionXLPipeline",
    config="sdxl",
    encoders=(
        TextEncoder(part="text_encoder", tokenizer="tokenizer", layer=2, final_norm=False),
        BIG_G,
    ),
    latents=LATENTS,
    size_conditioning="size",
    native_size=1024,
    buckets=BUCKETS,
    steps=25,
    guidance_scale=6.0,
    sampler="DPM++ 2M",
    abilities=ABILITIES,
    variants=VARIANTS | FEW_STEPS.keys(),
    versions=FEW_STEPS,
    vaes="sdxl",
    context_width=2048,
    layouts=(
        _base(*DENOISER, "^conditioner.embedders.1."),
        _base("^input_blocks.", sides=_context(2048)),
    ),
    bytes_at_half={
        "unet": 5_135_000_000,
        "text_encoder": 246_000_000,
        "text_encoder_2": 1_390_000_000,
        "vae": 167_000_000,
    },
    streamed={
        "unet": (1_418_000_000, 118_000_000),
        "text_encoder": (106_000_000, 81_000_000),
        "text_encoder_2": (209_000_000, 140_000_000),
    },
    beside=Beside(denoise=158.0, denoise_fixed=0, encode=40_000_000),
)

REFINER: Final = Family(
    title="Stable Diffusion XL refiner",
    network="unet",
    pipeline="StableDiffusionXLImg2ImgPipeline",
    config="sdxl-refiner",
    encoders=(BIG_G,),
    latents=LATENTS,
    size_conditioning="aesthetic",
    native_size=1024,
    buckets=BUCKETS,
    steps=25,
    guidance_scale=6.0,
    sampler="DPM++ 2M",
    abilities=ABILITIES,
    variants=VARIANTS,
    vaes="sdxl",
    context_width=1280,
    layouts=(
        _refiner(*DENOISER, "^conditioner.embedders.0.model."),
        _refiner("^input_blocks.", sides=_context(1280)),
    ),
    bytes_at_half={"unet": 4_518_000_000, "text_encoder_2": 1_390_000_000, "vae": 167_000_000},
    streamed={"unet": (780_000_000, 170_000_000), "text_encoder_2": (209_000_000, 140_000_000)},
    beside=Beside(denoise=189.0, denoise_fixed=0, encode=40_000_000),
)
