"""Qwen-Image: a transformer that reads the states of a language model, and a VAE made for videos.

In diffusers' names, which are its authors' own. Of those that edit pictures the first is shown one,
and since 2509 ("Plus") several. Those that draw in layers are told, and can't be drawn with.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

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

ABILITIES: Final[frozenset[Ability]] = frozenset(("text_to_image", "image_to_image", "lora", "vae"))
LATENTS: Final = Latents(
    channels=16,
    make="causal",
    widths=(96, 192, 384, 384),
    colours=(
        (-0.1299, -0.1692, 0.2932),
        (0.0671, 0.0406, 0.0442),
        (0.3568, 0.2548, 0.1747),
        (0.0372, 0.2344, 0.1420),
        (0.0313, 0.0189, -0.0328),
        (0.0296, -0.0956, -0.0665),
        (-0.3477, -0.4059, -0.2925),
        (0.0166, 0.1902, 0.1975),
        (-0.0412, 0.0267, -0.1364),
        (-0.1293, 0.0740, 0.1636),
        (0.0680, 0.3019, 0.1128),
        (0.0032, 0.0581, 0.0639),
        (-0.1251, 0.0927, 0.1699),
        (0.0060, -0.0633, 0.0005),
        (0.3477, 0.2275, 0.2950),
        (0.1984, 0.0913, 0.1861),
        (-0.1835, -0.0868, -0.3360),
    ),
)
"""Colours as measured for ComfyUI (`comfy/latent_formats.py`, Wan 2.1). The VAE's config has a mean
and a spread for each channel in the place of the scale and the shift."""
ENCODER: Final = TextEncoder(
    part="text_encoder",
    tokenizer="tokenizer",
    file="qwen2.5-vl-7b",
    make="qwen2",
    template=(
        "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, "
        "quantity, text, spatial relationships of the objects and background:<|im_end|>\n"
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    ),
    unseen=34,
)
"""As its authors asked it: github.com/QwenLM/Qwen-Image."""
_EDITOR: Final = msgspec.structs.replace(
    ENCODER,
    make="qwen2-vl",
    template=(
        "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, "
        "texture, objects, background), then explain how the user's text instruction should alter "
        "or modify the image. Generate a new image that meets the user's requirements while "
        "maintaining consistency with the original input where appropriate.<|im_end|>\n"
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    ),
    unseen=64,
    eyes=1_353_000_000,
)
_SEEN: Final = "<|vision_start|><|image_pad|><|vision_end|>"
EDITING: Final = {
    "edit": Version(
        guidance="cfg",
        steps=40,
        guidance_scale=4.0,
        references=References(step=32, seen=1024, needed=True),
        encoders=(msgspec.structs.replace(_EDITOR, picture=_SEEN),),
    ),
    "edit-plus": Version(
        guidance="cfg",
        steps=40,
        guidance_scale=4.0,
        references=References(most=3, step=32, seen=384, needed=True),
        encoders=(msgspec.structs.replace(_EDITOR, picture=f"Picture {{}}: {_SEEN}"),),
    ),
}
"""As their authors ask them: github.com/QwenLM/Qwen-Image, and diffusers' QwenImageEditPipeline and
QwenImageEditPlusPipeline."""
_BLOCK: Final = "transformer_blocks.{0..59}"
_TENSORS: Final = (
    f"{{img_in,txt_in,norm_out.linear,proj_out}}.{BOTH}",
    "txt_norm.weight",
    f"time_text_embed.timestep_embedder.linear_{{1,2}}.{BOTH}",
    f"{_BLOCK}.{{img,txt}}_mod.1.{BOTH}",
    f"{_BLOCK}.{{img,txt}}_mlp.net.{{0.proj,2}}.{BOTH}",
    f"{_BLOCK}.attn.{{to_q,to_k,to_v,to_out.0,add_q_proj,add_k_proj,add_v_proj,to_add_out}}.{BOTH}",
    f"{_BLOCK}.attn.norm_{{q,k,added_q,added_k}}.weight",
)
_DENOISER: Final = tuple(
    Part(
        title="denoiser",
        begins=begins,
        published=ShapeSide("^img_in.weight$", 0, frozenset((3072,))),
        sections=("img_in.", "txt_in.", "txt_norm.", "time_text_embed.", "transformer_blocks.0."),
        tensors=_TENSORS,
    )
    for begins in ("", "model.diffusion_model.")
)
MARKS: Final = (
    ("edit-plus", "^__index_timestep_zero__$"),
    ("layers", "^time_text_embed.addition_t_embedding."),
)
"""What the files of a variant have beside the usual ones; of Edit since its version of November
2025: older ones tell it by their names alone."""


def _layouts() -> Iterator[Layout]:
    for variant, mark in (*MARKS, ("", "^txt_norm.weight$")):
        yield Layout(
            kind=ModelKind.CHECKPOINT,
            family="qwen-image",
            variant=variant,
            needs=("^txt_norm.weight$", "^img_in.weight$", mark),
            lacks=("^context_embedder.", "^controlnet_blocks.0.", "^controlnet_x_embedder."),
            parts=_DENOISER,
        )


QWEN_IMAGE: Final = Family(
    title="Qwen-Image",
    network="qwen-image",
    pipeline="QwenImagePipeline",
    config="qwen-image",
    denoiser="transformer",
    encoders=(ENCODER,),
    latents=LATENTS,
    prediction="flow",
    comfyui_shift=1.15,
    guidance_keeps_length=True,
    half="bfloat16",
    native_size=1024,
    side_step=16,
    steps=30,
    guidance_scale=4.0,
    sampler="Euler",
    schedule="Simple",
    abilities=ABILITIES,
    variants=frozenset(("", *EDITING)),
    versions=EDITING,
    named={
        "": (
            (r"(?<![a-z])edit[^a-z].*(?:2509|2511|plus)", "edit-plus"),
            (r"(?<![a-z])edit(?![a-z])", "edit"),
            (r"(?<![a-z])layered(?![a-z])", "layers"),
        ),
    },
    vaes="qwen-image",
    layouts=tuple(_layouts()),
    config_marks=(
        ConfigMark("edit-plus", "zero_cond_t", True),
        ConfigMark("layers", "use_additional_t_cond", True),
    ),
    bytes_at_half={
        "transformer": 40_860_000_000,
        "text_encoder": 14_140_000_000,
        "vae": 254_000_000,
    },
    streamed={
        "transformer": (1_441_000_000, 227_000_000),
        "text_encoder": (2_023_000_000, 1_226_000_000),
    },
    beside=Beside(denoise=365.0, denoise_fixed=24_000_000, decode=3460.0),
)
