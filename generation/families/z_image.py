"""Z-Image: a transformer that reads the states of Qwen3 4B, base and Turbo.

In ComfyUI's layout and in that of its authors, which is diffusers'. Nothing in a file tells the two
apart but its name: they differ in their numbers alone.
"""

from typing import Final

from generation.families.family import Ability, Beside, ConfigMark, Family, TextEncoder, Version
from generation.families.flux import LATENTS
from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import BOTH
from generation.models import ModelKind

ABILITIES: Final[frozenset[Ability]] = frozenset(
    ("text_to_image", "image_to_image", "lora", "controlnet", "vae")
)
QWEN: Final = TextEncoder(
    part="text_encoder",
    tokenizer="tokenizer",
    layer=2,
    final_norm=False,
    file="qwen3-4b",
    make="qwen3",
    joined="behind",
    template="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
)
"""It is put to it as one question is, by its authors' template."""
TURBO: Final = "turbo"
NAMED: Final = ((r"(?<![a-z])de[\W_]?turbo", ""), ("turbo", TURBO), (r"(?<![a-z])base", ""))
"""A Turbo whose distillation was undone is guided as the base is."""
_BLOCKS: Final = ("layers.{0..29}", "noise_refiner.{0,1}", "context_refiner.{0,1}")
_EYES: Final = "^siglip_embedder."
"""Of what is shown pictures beside its text."""


def _parts(first: str, last: str, *attention: str) -> tuple[Part, ...]:
    """The denoiser, by what its first and last layer and those of its attention are called."""
    norms = "{attention_norm1,attention_norm2,ffn_norm1,ffn_norm2}"
    ends = f"{first},{last}.linear,{last}.adaLN_modulation.1,t_embedder.mlp.0,t_embedder.mlp.2"
    return tuple(
        Part(
            title="denoiser",
            begins=begins,
            published=ShapeSide(f"^{first}.weight$", 0, frozenset((3840,))),
            sections=(
                *(f"{first}.", f"{last}.", "t_embedder.", "cap_embedder."),
                *("layers.0.", "noise_refiner.0.", "context_refiner.0."),
            ),
            tensors=(
                f"{{{ends},cap_embedder.1}}.{BOTH}",
                *("cap_embedder.0.weight", "{cap,x}_pad_token"),
                *(f"{block}.attention.{{{','.join(attention)}}}.weight" for block in _BLOCKS),
                *(f"{block}.feed_forward.{{w1,w2,w3}}.weight" for block in _BLOCKS),
                *(f"{block}.{norms}.weight" for block in _BLOCKS),
                *(f"{block}.adaLN_modulation.0.{BOTH}" for block in _BLOCKS[:2]),
            ),
        )
        for begins in ("", "model.diffusion_model.")
    )


_COMFYUI: Final = _parts("x_embedder", "final_layer", "qkv", "out", "q_norm", "k_norm")
_ORIGINAL: Final = _parts(
    *("all_x_embedder.2-1", "all_final_layer.2-1"),
    *("to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k"),
)


def _layout(*needs: str, variant: str = "", parts: tuple[Part, ...] = ()) -> Layout:
    return Layout(
        kind=ModelKind.CHECKPOINT, family="z-image", variant=variant, needs=needs, parts=parts
    )


Z_IMAGE: Final = Family(
    title="Z-Image",
    network="z-image",
    pipeline="ZImagePipeline",
    config="z-image",
    denoiser="transformer",
    encoders=(QWEN,),
    latents=LATENTS,
    prediction="flow",
    half="bfloat16",
    native_size=1024,
    side_step=16,
    steps=28,
    guidance_scale=5.0,
    sampler="Euler",
    schedule="Simple",
    abilities=ABILITIES,
    variants=frozenset(("", TURBO)),
    versions={TURBO: Version(guidance="none", steps=8, guidance_scale=1.0)},
    named={"": NAMED, TURBO: NAMED},
    vaes="flux",
    layouts=(
        _layout("^cap_pad_token$", _EYES, variant="omni"),
        _layout("^cap_pad_token$", "^all_x_embedder.", parts=_ORIGINAL),
        _layout("^cap_pad_token$", parts=_COMFYUI),
        _layout("^layers.0.adaLN_modulation.0.weight$", "^cap_embedder.", parts=_COMFYUI),
    ),
    config_marks=(ConfigMark(TURBO, "shift", 3.0, "scheduler"),),
    bytes_at_half={
        "transformer": 12_310_000_000,
        "text_encoder": 7_840_000_000,
        "vae": 168_000_000,
    },
    streamed={
        "transformer": (728_000_000, 158_000_000),
        "text_encoder": (1_182_000_000, 828_000_000),
    },
    beside=Beside(denoise=474.0, denoise_fixed=66_000_000, control=762.0),
)
