"""Stable Diffusion 3 and 3.5: a transformer that reads SDXL's text encoders, and behind them T5.

Without T5, which is as large as all the rest, they draw as well, and spell worse.
"""

from typing import Any, Final

from generation.families.family import Ability, Beside, Family, Latents, TextEncoder
from generation.families.layout import Layout, Part
from generation.models import ModelKind

ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "vae")
)
LATENTS: Final = Latents(
    channels=16,
    scale=1.5305,
    shift=0.0609,
    colours=(
        (-0.0922, -0.0175, 0.0749),
        (0.0311, 0.0633, 0.0954),
        (0.1994, 0.0927, 0.0458),
        (0.0856, 0.0339, 0.0902),
        (0.0587, 0.0272, -0.0496),
        (-0.0006, 0.1104, 0.0309),
        (0.0978, 0.0306, 0.0427),
        (-0.0042, 0.1038, 0.1358),
        (-0.0194, 0.0020, 0.0669),
        (-0.0488, 0.0130, -0.0268),
        (0.0922, 0.0988, 0.0951),
        (-0.0278, 0.0524, -0.0542),
        (0.0332, 0.0456, 0.0895),
        (-0.0069, -0.0030, -0.0810),
        (-0.0596, -0.0465, -0.0293),
        (-0.1448, -0.1463, -0.1189),
        (0.2394, 0.2135, 0.1925),
    ),
)
"""Colours as measured for ComfyUI (`comfy/latent_formats.py`, SD3)."""
ENCODERS: Final = (
    TextEncoder(
        part="text_encoder",
        tokenizer="tokenizer",
        file="clip_l",
        layer=2,
        final_norm=False,
        pooled=True,
        # diffusers has one that changes nothing
        projected=False,
    ),
    TextEncoder(
        part="text_encoder_2",
        tokenizer="tokenizer_2",
        file="clip_g",
        layer=2,
        final_norm=False,
        pooled=True,
    ),
    TextEncoder(
        part="text_encoder_3",
        tokenizer="tokenizer_3",
        file="t5xxl",
        make="t5",
        joined="behind",
        tokens=256,
        comfyui_tokens=77,
        optional=True,
    ),
)
_DENOISER: Final = tuple(
    Part(
        title="denoiser",
        begins=begins,
        sections=(
            *("x_embedder.", "context_embedder.", "t_embedder.", "y_embedder."),
            *("joint_blocks.0.", "final_layer."),
        ),
    )
    for begins in ("", "model.diffusion_model.")
)
_DIFFUSERS: Final = ("^transformer_blocks.0.", "^context_embedder.", "^pos_embed.proj.")
COMMON: Final[dict[str, Any]] = {
    "network": "sd3",
    "pipeline": "StableDiffusion3Pipeline",
    "config": "sd3",
    "denoiser": "transformer",
    "encoders": ENCODERS,
    "latents": LATENTS,
    "prediction": "flow",
    "half": "bfloat16",
    "native_size": 1024,
    "side_step": 16,
    "steps": 28,
    "guidance_scale": 4.5,
    "sampler": "DPM++ 2M",
    "schedule": "SGM Uniform",
    "abilities": ABILITIES,
    "vaes": "sd3",
    # of 3.5 large's, which are the largest
    "beside": Beside(control=632.0),
}


def _layouts(family: str, original: tuple[str, ...], ours: tuple[str, ...]) -> tuple[Layout, ...]:
    """In its authors' names and in diffusers', told from its kin by one of these."""
    return (
        Layout(
            kind=ModelKind.CHECKPOINT,
            family=family,
            needs=("^joint_blocks.0.",),
            any_of=original,
            parts=_DENOISER,
        ),
        Layout(kind=ModelKind.CHECKPOINT, family=family, needs=_DIFFUSERS, any_of=ours),
    )


SD35: Final = Family(
    title="Stable Diffusion 3.5",
    layouts=_layouts(
        "sd3.5",
        # queries and keys that are normed, in medium and large; blocks that only large has
        (
            "^joint_blocks.0.x_block.attn.ln_q.",
            "^joint_blocks.0.x_block.attn2.",
            "^joint_blocks.37.",
        ),
        ("^transformer_blocks.0.attn.norm_q.", "^transformer_blocks.37."),
    ),
    bytes_at_half={
        "transformer": 16_280_000_000,
        "text_encoder": 246_000_000,
        "text_encoder_2": 1_390_000_000,
        "text_encoder_3": 9_525_000_000,
        "vae": 168_000_000,
    },
    **COMMON,
)
SD3: Final = Family(
    title="Stable Diffusion 3",
    layouts=_layouts("sd3", (), ()),
    bytes_at_half={
        "transformer": 4_170_000_000,
        "text_encoder": 246_000_000,
        "text_encoder_2": 1_390_000_000,
        "text_encoder_3": 9_525_000_000,
        "vae": 168_000_000,
    },
    **COMMON,
)
