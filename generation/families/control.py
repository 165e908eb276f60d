"""Networks that steer a denoiser by a picture: ControlNets, unions of them and T2I-Adapters."""

from collections.abc import Iterable, Mapping
from typing import Final

from generation.families.layout import Layout, ShapeSide
from generation.models import UNKNOWN, ModelFile, ModelKind
from generation.request import ControlUse

_CONTEXT: Final = ".attn2.to_k.weight$"
_WIDTHS: Final = (("sd1", 768), ("sd2", 1024), ("sdxl", 2048))

KINDS: Final[Mapping[str, int]] = {
    "openpose": 0,
    "depth": 1,
    **dict.fromkeys(("hed", "pidi", "scribble", "ted"), 2),
    **dict.fromkeys(("canny", "lineart", "anime_lineart", "mlsd"), 3),
    "normal": 4,
    "segment": 5,
    "tile": 6,
    "repaint": 7,
}
"""Kinds of control pictures, by the numbers that xinsir's ControlNet Unions know them by."""
USUAL_KIND: Final = "canny"
"""What a union takes a picture for where nobody says its kind: lines, as most of them are."""
UNIONS: Final[Mapping[str, int]] = {"union": 6, "union-promax": 8}
"""Variants of unions, and how many kinds each knows: the first so many numbers."""


FOLLOWING: Final = frozenset(("control", "canny"))
"""Variants of checkpoints that follow a control picture themselves, and draw nothing without."""


def follows(model: ModelFile) -> bool:
    """Whether a checkpoint follows a control picture itself, without a ControlNet."""
    return model.kind is ModelKind.CHECKPOINT and model.variant in FOLLOWING


def steering_uses(
    uses: Iterable[ControlUse], *checkpoints: ModelFile | None
) -> tuple[ControlUse, ...]:
    """Those that ControlNets read: all but those of these checkpoints, which follow a picture
    themselves.
    """
    own = [model.name for model in checkpoints if model is not None and follows(model)]
    return tuple(use for use in uses if use.name not in own)


def kinds_of(variant: str) -> tuple[str, ...]:
    """The kinds of control pictures that a ControlNet of that variant is told; () for one that is
    made for a single kind.
    """
    return tuple(kind for kind, number in KINDS.items() if number < UNIONS.get(variant, 0))


def union_of(kinds: int) -> str:
    """The variant of a union that knows so many kinds."""
    return "union-promax" if kinds == UNIONS["union-promax"] else "union"


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


_PROMAX: Final = ShapeSide("^task_embedding$", 0, frozenset((UNIONS["union-promax"],)))

CONTROLNETS: Final = (
    *_control("sdxl", "^task_embedding$", variant="union-promax", sides=(_PROMAX,)),
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
