"""Networks that steer a denoiser by a picture: ControlNets, unions of them and T2I-Adapters."""

from typing import Final

from generation.families.layout import Layout, ShapeSide
from generation.models import UNKNOWN, ModelKind

_CONTEXT: Final = ".attn2.to_k.weight$"
_WIDTHS: Final = (("sd1", 768), ("sd2", 1024), ("sdxl", 2048))


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


CONTROLNETS: Final = (
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
