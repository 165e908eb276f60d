"""Flux.1: a transformer that reads T5's states and CLIP's pooled state.

In the layouts of its authors and of diffusers: dev, schnell, Krea, and those that are told more.
Kontext, which edits pictures, is the same network as dev: its files tell it by their names alone.
"""

from collections.abc import Iterator
from typing import Final

from generation.families.family import (
    Ability,
    Beside,
    ConfigMark,
    Family,
    Latents,
    References,
    TextEncoder,
    Version,
)
from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import BOTH
from generation.models import ModelKind

ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "vae")
)
LATENTS: Final = Latents(
    channels=16,
    scale=0.3611,
    shift=0.1159,
    colours=(
        (-0.0346, 0.0244, 0.0681),
        (0.0034, 0.0210, 0.0687),
        (0.0275, -0.0668, -0.0433),
        (-0.0174, 0.0160, 0.0617),
        (0.0859, 0.0721, 0.0329),
        (0.0004, 0.0383, 0.0115),
        (0.0405, 0.0861, 0.0915),
        (-0.0236, -0.0185, -0.0259),
        (-0.0245, 0.0250, 0.1180),
        (0.1008, 0.0755, -0.0421),
        (-0.0515, 0.0201, 0.0011),
        (0.0428, -0.0012, -0.0036),
        (0.0817, 0.0765, 0.0749),
        (-0.1264, -0.0522, -0.1103),
        (-0.0280, -0.0881, -0.0499),
        (-0.1262, -0.0982, -0.0778),
        (-0.0329, -0.0718, -0.0851),
    ),
)
"""Colours as measured for ComfyUI (`comfy/latent_formats.py`, Flux)."""
T5: Final = TextEncoder(
    part="text_encoder_2",
    tokenizer="tokenizer_2",
    file="t5xxl",
    make="t5",
    joined="behind",
    tokens=512,
)
KONTEXT: Final = References(
    shapes=(
        *((1024, 1024), (1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752)),
        *((1456, 720), (1504, 688), (1568, 672)),
    )
)
"""As its authors have it, and diffusers' FluxKontextPipeline."""
_OTHERS: Final = (
    *("^distilled_guidance_layer.", "^single_stream_modulation.", "^double_stream_modulation_img."),
    *("^txt_in.individual_token_refiner.", "^controlnet_blocks.0.", "^controlnet_x_embedder."),
)
"""What Chroma, Flux.2, Hunyuan Video and ControlNets have beside Flux.1's names."""
_ENDS: Final = "{in_layer,out_layer}"
_TENSORS: Final = (
    f"{{img_in,txt_in,final_layer.linear,final_layer.adaLN_modulation.1}}.{BOTH}",
    f"{{time_in,vector_in}}.{_ENDS}.{BOTH}",
    f"double_blocks.{{0..18}}.{{img,txt}}_{{attn.qkv,attn.proj,mlp.0,mlp.2,mod.lin}}.{BOTH}",
    "double_blocks.{0..18}.{img,txt}_attn.norm.{query,key}_norm.scale",
    f"single_blocks.{{0..37}}.{{linear1,linear2,modulation.lin}}.{BOTH}",
    "single_blocks.{0..37}.norm.{query,key}_norm.scale",
)
_SECTIONS: Final = (
    *("img_in.", "txt_in.", "time_in.", "vector_in.", "final_layer."),
    *("double_blocks.0.", "single_blocks.0."),
)
_DENOISER: Final = tuple(
    Part(
        title="denoiser",
        begins=begins,
        published=ShapeSide("^img_in.weight$", 0, frozenset((3072,))),
        sections=_SECTIONS,
        tensors=_TENSORS,
    )
    for begins in ("", "model.diffusion_model.")
)
VARIANTS: Final = ((384, "fill"), (128, "control"))
"""By how many channels, four latents to one, its input has: for filling, and what follows a picture
of depth or edges."""


def _layouts(
    *needs: str, guidance: str, inputs: str, parts: tuple[Part, ...] = ()
) -> Iterator[Layout]:
    def layout(variant: str, channels: int = 0, lacks: tuple[str, ...] = ()) -> Layout:
        return Layout(
            kind=ModelKind.CHECKPOINT,
            family="flux",
            variant=variant,
            needs=needs,
            lacks=(*_OTHERS, *lacks),
            sides=(ShapeSide(inputs, 1, frozenset((channels,))),) if channels else (),
            parts=parts,
        )

    yield from (layout(variant, channels) for channels, variant in VARIANTS)
    yield layout("schnell", lacks=(guidance,))
    yield layout("")


FLUX: Final = Family(
    title="Flux.1",
    network="flux",
    pipeline="FluxPipeline",
    config="flux",
    denoiser="transformer",
    encoders=(
        TextEncoder(
            part="text_encoder",
            tokenizer="tokenizer",
            file="clip_l",
            pooled=True,
            projected=False,
            joined="nowhere",
        ),
        T5,
    ),
    latents=LATENTS,
    prediction="flow",
    guidance="distilled",
    half="bfloat16",
    native_size=1024,
    side_step=16,
    steps=20,
    guidance_scale=3.5,
    sampler="Euler",
    schedule="Simple",
    abilities=ABILITIES,
    variants=frozenset(("", "schnell", "fill", "control", "canny", "kontext", "union")),
    versions={
        "kontext": Version(guidance="distilled", steps=28, guidance_scale=2.5, references=KONTEXT),
        "fill": Version(guidance="distilled", steps=28, guidance_scale=30.0),
        "control": Version(guidance="distilled", steps=28, guidance_scale=10.0),
        "canny": Version(guidance="distilled", steps=28, guidance_scale=30.0),
        "schnell": Version(guidance="none", steps=4, guidance_scale=1.0, tokens=256),
    },
    named={"": (("kontext", "kontext"),), "control": (("canny", "canny"),)},
    vaes="flux",
    layouts=(
        *_layouts(
            "^double_blocks.0.img_attn.",
            guidance="^guidance_in.",
            inputs="^img_in.weight$",
            parts=_DENOISER,
        ),
        *_layouts(
            "^single_transformer_blocks.0.",
            "^transformer_blocks.0.",
            guidance="^time_text_embed.guidance_embedder.",
            inputs="^x_embedder.weight$",
        ),
    ),
    config_marks=(
        *(ConfigMark(variant, "in_channels", channels) for channels, variant in VARIANTS),
        ConfigMark("schnell", "guidance_embeds", False),
    ),
    bytes_at_half={
        "transformer": 23_800_000_000,
        "text_encoder": 246_000_000,
        "text_encoder_2": 9_525_000_000,
        "vae": 168_000_000,
    },
    streamed={
        "transformer": (1_488_000_000, 227_000_000),
        "text_encoder": (106_000_000, 81_000_000),
        "text_encoder_2": (1_035_000_000, 347_000_000),
    },
    beside=Beside(denoise=413.0, denoise_fixed=58_000_000, control=576.0, encode=110_000_000),
)
