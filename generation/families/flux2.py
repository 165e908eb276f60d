"""Flux.2 Klein: a transformer that reads three states of Qwen3, side by side, 4B and 9B.

In the layouts of its authors and of diffusers. Nothing in a file tells the base, which is guided,
from what was distilled of it for a few steps, but its name: they differ in their numbers alone.
"""

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
from generation.models import ModelKind

ABILITIES: Final[frozenset[Ability]] = frozenset(("text_to_image", "image_to_image", "lora", "vae"))
_COLOURS: Final = (
    (0.0058, 0.0113, 0.0073),
    (0.0495, 0.0443, 0.0836),
    (-0.0099, 0.0096, 0.0644),
    (0.2144, 0.3009, 0.3652),
    (0.0166, -0.0039, -0.0054),
    (0.0157, 0.0103, -0.0160),
    (-0.0398, 0.0902, -0.0235),
    (-0.0052, 0.0095, 0.0109),
    (-0.3527, -0.2712, -0.1666),
    (-0.0301, -0.0356, -0.0180),
    (-0.0107, 0.0078, 0.0013),
    (0.0746, 0.0090, -0.0941),
    (0.0156, 0.0169, 0.0070),
    (-0.0034, -0.0040, -0.0114),
    (0.0032, 0.0181, 0.0080),
    (-0.0939, -0.0008, 0.0186),
    (0.0018, 0.0043, 0.0104),
    (0.0284, 0.0056, -0.0127),
    (-0.0024, -0.0022, -0.0030),
    (0.1207, -0.0026, 0.0065),
    (0.0128, 0.0101, 0.0142),
    (0.0137, -0.0072, -0.0007),
    (0.0095, 0.0092, -0.0059),
    (0.0000, -0.0077, -0.0049),
    (-0.0465, -0.0204, -0.0312),
    (0.0095, 0.0012, -0.0066),
    (0.0290, -0.0034, 0.0025),
    (0.0220, 0.0169, -0.0048),
    (-0.0332, -0.0457, -0.0468),
    (-0.0085, 0.0389, 0.0609),
    (-0.0076, 0.0003, -0.0043),
    (-0.0111, -0.0460, -0.0614),
)
"""As measured for ComfyUI (`comfy/latent_formats.py`, Flux2), of each channel of the VAE's own."""
LATENTS: Final = Latents(
    make="patched",
    channels=128,
    factor=16,
    token=1,
    colours=(
        *((red / 4, green / 4, blue / 4) for red, green, blue in _COLOURS for _ in range(4)),
        (-0.0329, -0.0718, -0.0851),
    ),
)
"""Two by two latents of the VAE are one, each channel with a mean and a spread of its own, which
lie in the VAE's file. Its colour is the mean of theirs."""
TEMPLATE: Final = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
"""As Qwen3's authors put a question to it that is to be answered at once."""
READ: Final = (9, 18, 27)
"""Which of its states are read, after so many layers: github.com/black-forest-labs/flux2."""
EDITED: Final = References(most=4, enlarges=False, starts=True)
"""As many as their authors say (docs.bfl.ai/guides/prompting_editing_overview). A picture is shown
in its own size, and only one that is too large is made smaller."""
BASE: Final = "base"
NAMED: Final = ((r"(?<![a-z])(?:base|un[\W_]?distilled)(?![a-z])", BASE),)


def _encoder(file: str) -> TextEncoder:
    return TextEncoder(
        part="text_encoder",
        tokenizer="tokenizer",
        file=file,
        make="qwen3",
        joined="behind",
        template=TEMPLATE,
        states=READ,
        tokens=512,
    )


def _denoiser(width: int, doubles: int, singles: int) -> tuple[Part, ...]:
    double, single = f"double_blocks.{{0..{doubles - 1}}}", f"single_blocks.{{0..{singles - 1}}}"
    return tuple(
        Part(
            title="denoiser",
            begins=begins,
            published=ShapeSide("^img_in.weight$", 0, frozenset((width,))),
            sections=(
                *("img_in.", "txt_in.", "time_in.", "final_layer."),
                *("double_stream_modulation_img.", "double_stream_modulation_txt."),
                *("single_stream_modulation.", "double_blocks.0.", "single_blocks.0."),
            ),
            tensors=(
                "{img_in,txt_in,final_layer.linear,final_layer.adaLN_modulation.1}.weight",
                "time_in.{in_layer,out_layer}.weight",
                "{double_stream_modulation_img,double_stream_modulation_txt}.lin.weight",
                "single_stream_modulation.lin.weight",
                f"{double}.{{img,txt}}_{{attn.qkv,attn.proj,mlp.0,mlp.2}}.weight",
                f"{double}.{{img,txt}}_attn.norm.{{query,key}}_norm.scale",
                f"{single}.{{linear1,linear2}}.weight",
                f"{single}.norm.{{query,key}}_norm.scale",
            ),
        )
        for begins in ("", "model.diffusion_model.")
    )


LARGER: Final = (
    *("^double_blocks.5.", "^transformer_blocks.5.", "^guidance_in."),
    "^time_guidance_embed.guidance_embedder.",
)
"""What the smallest published one lacks, and so do small models of the same make."""


def _layout(family: str, mark: str, text: str, words: int, parts: tuple[Part, ...]) -> Layout:
    """By the width of the text that it reads; 0 for a small model."""
    return Layout(
        kind=ModelKind.CHECKPOINT,
        family=family,
        needs=(mark, text, "^single_blocks.0." if parts else "^single_transformer_blocks.0."),
        lacks=() if words else LARGER,
        sides=(ShapeSide(text, 1, frozenset((words,))),) if words else (),
        parts=parts,
    )


def _layouts(family: str, parts: tuple[Part, ...], *widths: int) -> tuple[Layout, ...]:
    names = (
        ("^single_stream_modulation.lin.weight$", "^txt_in.weight$", parts),
        ("^double_stream_modulation_img.linear.weight$", "^context_embedder.weight$", ()),
    )
    return tuple(
        _layout(family, mark, text, words, own) for words in widths for mark, text, own in names
    )


def _klein(
    title: str,
    encoder: str,
    layouts: tuple[Layout, ...],
    bytes_at_half: dict[str, int],
    streamed: dict[str, tuple[int, int]],
    beside: Beside,
) -> Family:
    return Family(
        title=title,
        network="flux2",
        pipeline="Flux2KleinPipeline",
        config="flux2",
        denoiser="transformer",
        encoders=(_encoder(encoder),),
        latents=LATENTS,
        prediction="flow",
        shift_by_steps=True,
        comfyui_shift=2.02,
        guidance="none",
        half="bfloat16",
        native_size=1024,
        side_step=16,
        steps=4,
        guidance_scale=1.0,
        sampler="Euler",
        schedule="Simple",
        abilities=ABILITIES,
        variants=frozenset(("", BASE)),
        versions={BASE: Version(guidance="cfg", steps=20, guidance_scale=4.0)},
        named={"": NAMED},
        vaes="flux2",
        references=EDITED,
        layouts=layouts,
        config_marks=(ConfigMark(BASE, "is_distilled", False, "pipeline"),),
        bytes_at_half=bytes_at_half,
        streamed=streamed,
        beside=beside,
    )


KLEIN_4B: Final = _klein(
    "Flux.2 Klein 4B",
    "qwen3-4b",
    _layouts("flux2-klein-4b", _denoiser(3072, 5, 20), 7680, 0),
    {"transformer": 7_751_000_000, "text_encoder": 6_228_000_000, "vae": 168_000_000},
    {"transformer": (1_372_000_000, 340_000_000), "text_encoder": (1_182_000_000, 828_000_000)},
    Beside(denoise=513.0, denoise_fixed=78_000_000),
)
KLEIN_9B: Final = _klein(
    "Flux.2 Klein 9B",
    "qwen3-8b",
    _layouts("flux2-klein-9b", _denoiser(4096, 8, 24), 12288),
    {"transformer": 18_157_000_000, "text_encoder": 11_664_000_000, "vae": 168_000_000},
    {
        "transformer": (2_454_000_000, 604_000_000),
        "text_encoder": (2_016_000_000, 1_345_000_000),
    },
    Beside(denoise=681.0, denoise_fixed=106_000_000, encode=160_000_000),
)
