"""Networks that steer a denoiser by a picture: ControlNets, unions of them and T2I-Adapters."""

from collections.abc import Iterable, Mapping
from typing import Final

from generation.families.layout import Layout, ShapeSide
from generation.models import UNKNOWN, ModelFile, ModelKind
from generation.request_parts import ControlUse

_CONTEXT: Final = ".attn2.to_k.weight$"
_WIDTHS: Final = (("sd1", 768), ("sd2", 1024), ("sdxl", 2048))

_XINSIR: Final[Mapping[str, int]] = {
    "openpose": 0,
    "depth": 1,
    **dict.fromkeys(("hed", "pidi", "scribble", "ted"), 2),
    **dict.fromkeys(("canny", "lineart", "anime_lineart", "mlsd"), 3),
    "normal": 4,
    "segment": 5,
}
_PROMAX: Final[Mapping[str, int]] = {**_XINSIR, "tile": 6, "repaint": 7}
_FLUX: Final[Mapping[str, int]] = {
    "canny": 0,
    "tile": 1,
    "depth": 2,
    "blur": 3,
    "openpose": 4,
    "gray": 5,
    "low_quality": 6,
}
"""As InstantX numbers them, and Shakker Labs' Union Pro after it."""
UNIONS: Final[Mapping[tuple[str, str], Mapping[str, int]]] = {
    ("sdxl", "union"): _XINSIR,
    ("sdxl", "union-promax"): _PROMAX,
    ("flux", "union"): _FLUX,
}
"""By family and variant, the kinds of control pictures that unions know, by their numbers there."""
KINDS: Final = tuple(dict.fromkeys(kind for union in UNIONS.values() for kind in union))
"""Every kind that one of them knows."""
USUAL_KIND: Final = "canny"
"""What a union takes a picture for where nobody says its kind: lines, as most of them are."""
REPAINT: Final = "repaint"
"""The kind of picture of which a union is shown nothing where it is drawn anew."""
FOLLOWED: Final = "control"
FOLLOWING: Final = frozenset((FOLLOWED, "canny"))
"""Variants of checkpoints that follow a control picture themselves, and draw nothing without, and
of LoRAs that make such of one."""


def follows(model: ModelFile) -> bool:
    """Whether a checkpoint follows a control picture itself, without a ControlNet, or with this
    LoRA.
    """
    return model.kind in (ModelKind.CHECKPOINT, ModelKind.LORA) and model.variant in FOLLOWING


def is_shown_mask(net: ModelFile) -> bool:
    """Whether a ControlNet is that of Stable Diffusion 1 for inpainting, which is like its others,
    and told by its name alone.
    """
    plain = net.kind is ModelKind.CONTROLNET and net.family == "sd1" and not net.variant
    return plain and "inpaint" in net.name.casefold()


def steering_uses(uses: Iterable[ControlUse], *models: ModelFile | None) -> tuple[ControlUse, ...]:
    """Those that ControlNets read: all but those of these checkpoints and LoRAs, which follow a
    picture themselves.
    """
    own = [model.name for model in models if model is not None and follows(model)]
    return tuple(use for use in uses if use.name not in own)


def kinds_of(net: ModelFile) -> tuple[str, ...]:
    """The kinds of control pictures that a ControlNet is told; () for one that is made for a single
    kind, or sees itself which it is handed.
    """
    return tuple(_numbers(net))


def number_of(kind: str | None, net: ModelFile) -> int:
    """By which number a union knows a kind; 0 for what is no union."""
    return _numbers(net).get(kind or USUAL_KIND, 0)


def _numbers(net: ModelFile) -> Mapping[str, int]:
    """Of a union whose family is told or not: diffusers has one class of them for all UNets."""
    usual = UNIONS.get(("sdxl", net.variant), {})
    return UNIONS.get((net.family, net.variant), usual)


def union_of(kinds: int) -> str:
    """The variant of a union of SDXL that knows so many kinds."""
    return "union-promax" if kinds == PROMAX_KINDS else "union"


def _control(
    family: str, *needs: str, variant: str = "", sides: tuple[ShapeSide, ...] = ()
) -> tuple[Layout, ...]:
    """In CompVis' names, with or without a prefix, and in diffusers'."""
    return tuple(
        Layout(
            kind=ModelKind.CONTROLNET,
            family=family,
            variant=variant,
            needs=needs,
            any_of=any_of,
            sides=sides,
        )
        for any_of in (
            ("^zero_convs.0.0.", "^input_hint_block.0."),
            ("^controlnet_cond_embedding.", "^controlnet_down_blocks.0."),
        )
    )


def _adapter(family: str, sides: frozenset[int]) -> Layout:
    """What its picture is folded into: 8 x 8 pixels for Stable Diffusion 1, 16 x 16 for XL."""
    return Layout(
        kind=ModelKind.CONTROLNET,
        family=family,
        variant="t2i-adapter",
        any_of=("body.0.resnets.0.block1.weight$", "^body.0.block1.weight$"),
        sides=(ShapeSide("conv_in.weight$", 1, sides),),
    )


PROMAX_KINDS: Final = 8
_PROMAX_SIDE: Final = ShapeSide("^task_embedding$", 0, frozenset((PROMAX_KINDS,)))
_FLUX_INPUT: Final = ShapeSide("^controlnet_x_embedder.weight$", 1, frozenset((64,)))
"""The picture's latents, four to a token: one that is shown a mask has more."""


def _flux(variant: str, *needs: str) -> Layout:
    """Of Flux.1, in diffusers' names: InstantX', Shakker Labs', XLabs' and others'."""
    return Layout(
        kind=ModelKind.CONTROLNET,
        family="flux",
        variant=variant,
        needs=("^transformer_blocks.0.attn.add_k_proj.", "^controlnet_blocks.0.", *needs),
        lacks=("^txt_norm.weight$",),
        sides=(_FLUX_INPUT,),
    )


_XLABS: Final = Layout(
    kind=ModelKind.CONTROLNET,
    family="flux",
    needs=(
        *("^double_blocks.0.img_attn.qkv.", "^controlnet_blocks.0.weight$"),
        *("^input_hint_block.0.", "^pos_embed_input."),
    ),
    sides=(ShapeSide("^pos_embed_input.weight$", 1, frozenset((64,))),),
)
"""XLabs' of Flux.1, in the names of its authors: they read pixels."""

_SD3_INPUT: Final = ShapeSide("^pos_embed_input.proj.weight$", 1, frozenset((16,)))
"""The picture's latents; one for inpainting is shown a mask beside them."""
_LARGE: Final = ShapeSide("^pos_embed_input.proj.weight$", 0, frozenset((2432,)))


def _sd3(family: str, *any_of: str, sides: tuple[ShapeSide, ...] = ()) -> Layout:
    """Of Stable Diffusion 3's make, in diffusers' names or Stability AI's."""
    return Layout(
        kind=ModelKind.CONTROLNET,
        family=family,
        needs=("^pos_embed_input.proj.", "^controlnet_blocks.0."),
        any_of=any_of,
        sides=(_SD3_INPUT, *sides),
    )


CONTROLNETS: Final = (
    Layout(
        kind=ModelKind.CONTROLNET,
        family="z-image",
        needs=("^control_all_x_embedder.2-1.weight$", "^control_layers.0."),
    ),
    # Stability AI's for 3.5 large, which read no text, or others of its width, or whose queries
    # and keys are normed
    _sd3("sd3.5", "^transformer_blocks.0.attn.qkv.", "^transformer_blocks.0.attn.norm_q."),
    _sd3("sd3.5", sides=(_LARGE,)),
    _sd3("sd3", "^context_embedder."),
    _sd3("sd3.5"),
    _XLABS,
    _flux("union", "^controlnet_mode_embedder."),
    _flux(""),
    *_control("sdxl", "^task_embedding$", variant="union-promax", sides=(_PROMAX_SIDE,)),
    *(
        layout
        for mark in ("^task_embedding$", "^control_add_embedding.", "^control_type_proj.")
        for layout in _control("sdxl", mark, variant="union")
    ),
    *_control("sdxl", "^add_embedding.linear_1.weight$"),
    *_control("sdxl", "^label_emb.0.0.weight$"),
    *(
        layout
        for family, width in _WIDTHS
        for layout in _control(family, sides=(ShapeSide(_CONTEXT, 1, frozenset((width,))),))
    ),
    *_control(UNKNOWN, _CONTEXT),
    _adapter("sd1", frozenset((64, 192))),
    _adapter("sdxl", frozenset((256, 768))),
)
