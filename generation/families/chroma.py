"""Chroma: Flux.1's blocks without CLIP and without distilled guidance, which one network tells how
each block is to act.
"""

from typing import Final

from generation.families.family import Ability, Family, TextEncoder
from generation.families.flux import LATENTS
from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import BOTH
from generation.models import ModelKind

ABILITIES: Final[frozenset[Ability]] = frozenset(("text_to_image", "image_to_image", "lora", "vae"))
T5: Final = TextEncoder(
    part="text_encoder",
    tokenizer="tokenizer",
    file="t5xxl",
    make="t5",
    joined="behind",
    one_pad=True,
)
_DENOISER: Final = tuple(
    Part(
        title="denoiser",
        begins=begins,
        published=ShapeSide("^img_in.weight$", 0, frozenset((3072,))),
        sections=(
            *("img_in.", "txt_in.", "final_layer.", "distilled_guidance_layer."),
            *("double_blocks.0.", "single_blocks.0."),
        ),
        tensors=(
            f"{{img_in,txt_in,final_layer.linear}}.{BOTH}",
            f"distilled_guidance_layer.{{in_proj,out_proj}}.{BOTH}",
            f"distilled_guidance_layer.layers.{{0..4}}.{{in_layer,out_layer}}.{BOTH}",
            "distilled_guidance_layer.norms.{0..4}.scale",
            f"double_blocks.{{0..18}}.{{img,txt}}_{{attn.qkv,attn.proj,mlp.0,mlp.2}}.{BOTH}",
            "double_blocks.{0..18}.{img,txt}_attn.norm.{query,key}_norm.scale",
            f"single_blocks.{{0..37}}.{{linear1,linear2}}.{BOTH}",
            "single_blocks.{0..37}.norm.{query,key}_norm.scale",
        ),
    )
    for begins in ("", "model.diffusion_model.")
)


def _layout(*needs: str, parts: tuple[Part, ...] = ()) -> Layout:
    return Layout(kind=ModelKind.CHECKPOINT, family="chroma", needs=needs, parts=parts)


CHROMA: Final = Family(
    title="Chroma",
    network="chroma",
    pipeline="ChromaPipeline",
    config="chroma",
    denoiser="transformer",
    encoders=(T5,),
    latents=LATENTS,
    prediction="flow",
    comfyui_shift=1.15,
    half="bfloat16",
    native_size=1024,
    side_step=16,
    steps=26,
    guidance_scale=4.0,
    sampler="Euler",
    schedule="Beta",
    abilities=ABILITIES,
    vaes="flux",
    layouts=(
        _layout("^distilled_guidance_layer.", "^transformer_blocks.0."),
        _layout("^distilled_guidance_layer.", parts=_DENOISER),
    ),
    bytes_at_half={
        "transformer": 17_800_000_000,
        "text_encoder": 9_525_000_000,
        "vae": 168_000_000,
    },
)
