"""Stable Diffusion 1 and 2: a UNet that reads one CLIP text encoder."""

from typing import Final

from generation.families.family import Ability, Beside, Family, Latents, TextEncoder
from generation.families.few_steps import FEW_STEPS, READS_GUIDANCE
from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import (
    BOTH,
    UNET_ENDS,
    UNET_SECTIONS,
    attention,
    autoencoder,
    clip_text,
    open_clip_text,
    resnets,
)
from generation.models import ModelKind

VARIANTS: Final = frozenset(("", "inpainting", "instruct-pix2pix", "t2i-adapter", *FEW_STEPS))
ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "clip_skip", "vae")
)

LATENTS: Final = Latents(
    colours=(
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
        (0.0, 0.0, 0.0),
    )
)
"""Colours as measured for ComfyUI (`comfy/latent_formats.py`, SD15)."""
BESIDE: Final = Beside(denoise=260.0, denoise_fixed=0, encode=20_000_000)
UNET: Final = Part(
    title="denoiser",
    begins="model.diffusion_model.",
    published=ShapeSide("^input_blocks.0.0.weight$", 0, frozenset((320,))),
    sections=UNET_SECTIONS,
    may_have=READS_GUIDANCE,
    tensors=(
        *UNET_ENDS,
        f"input_blocks.{{3,6,9}}.0.op.{BOTH}",
        *resnets("input_blocks.{1,2,4,5,7,8,10,11}.0"),
        *resnets("middle_block.{0,2}"),
        *resnets("output_blocks.{0..11}.0"),
        f"{{input_blocks.4,input_blocks.7}}.0.skip_connection.{BOTH}",
        f"output_blocks.{{0..11}}.0.skip_connection.{BOTH}",
        *attention("input_blocks.{1,2,4,5,7,8}.1", 1),
        *attention("middle_block.1", 1),
        *attention("output_blocks.{3..11}.1", 1),
        f"output_blocks.2.1.conv.{BOTH}",
        f"output_blocks.{{5,8}}.2.conv.{BOTH}",
    ),
)
VAE: Final = autoencoder("first_stage_model.")
DENOISER: Final = ("^input_blocks.", ".attn2.to_k.weight$")
OLD_CLIP: Final = "cond_stage_model.transformer."
"""Checkpoints of 2022 lack the `text_model.` that followed later."""


def _context(width: int) -> ShapeSide:
    """The width of the text embedding that the denoiser attends to."""
    return ShapeSide(".attn2.to_k.weight$", 1, frozenset((width,)))


SD1: Final = Family(
    title="Stable Diffusion 1.x",
    network="unet",
    pipeline="StableDiffusionPipeline",
    config="sd1",
    encoders=(TextEncoder(part="text_encoder", tokenizer="tokenizer"),),
    latents=LATENTS,
    native_size=512,
    steps=20,
    guidance_scale=7.0,
    sampler="DPM++ 2M",
    abilities=ABILITIES,
    variants=VARIANTS,
    versions=FEW_STEPS,
    vaes="sd1",
    context_width=768,
    layouts=(
        Layout(
            kind=ModelKind.CHECKPOINT,
            family="sd1",
            needs=(*DENOISER, f"^{OLD_CLIP}text_model."),
            parts=(UNET, clip_text(f"{OLD_CLIP}text_model."), VAE),
        ),
        Layout(
            kind=ModelKind.CHECKPOINT,
            family="sd1",
            needs=(*DENOISER, f"^{OLD_CLIP}"),
            parts=(UNET, clip_text(OLD_CLIP), VAE),
        ),
        Layout(
            kind=ModelKind.CHECKPOINT,
            family="sd1",
            needs=DENOISER,
            sides=(_context(768),),
            parts=(UNET, clip_text(f"{OLD_CLIP}text_model."), VAE),
        ),
    ),
    bytes_at_half={"unet": 1_719_000_000, "text_encoder": 246_000_000, "vae": 167_000_000},
    streamed={
        "unet": (1_039_000_000, 118_000_000),
        "text_encoder": (106_000_000, 81_000_000),
    },
    beside=BESIDE,
)


def _sd2(begins: str, *sides: ShapeSide) -> Layout:
    """A checkpoint whose text encoder's names begin so; without sides, told by them."""
    return Layout(
        kind=ModelKind.CHECKPOINT,
        family="sd2",
        needs=DENOISER if sides else (*DENOISER, f"^{begins}"),
        lacks=("^label_emb.0.0.weight$",),
        sides=sides,
        parts=(UNET, open_clip_text(begins, 23, 1024, projection=False), VAE),
    )


SD2: Final = Family(
    title="Stable Diffusion 2.x",
    network="unet",
    pipeline="StableDiffusionPipeline",
    config="sd2",
    encoders=(TextEncoder(part="text_encoder", tokenizer="tokenizer"),),
    latents=LATENTS,
    native_size=768,
    steps=20,
    guidance_scale=7.0,
    sampler="DPM++ 2M",
    abilities=ABILITIES,
    variants=VARIANTS,
    versions=FEW_STEPS,
    vaes="sd1",
    context_width=1024,
    layouts=(
        _sd2("cond_stage_model.model."),
        # as generative-models saves it: SD-Turbo
        _sd2("conditioner.embedders.0.model."),
        _sd2("cond_stage_model.model.", _context(1024)),
    ),
    bytes_at_half={"unet": 1_732_000_000, "text_encoder": 681_000_000, "vae": 167_000_000},
    streamed={
        "unet": (1_045_000_000, 118_000_000),
        "text_encoder": (153_000_000, 110_000_000),
    },
    beside=BESIDE,
)
