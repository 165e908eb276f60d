"""A finished picture whose canvas grows: to which sides and how far, and what of it is drawn.

Of a canvas that is larger than a model draws at once, what is new is drawn with as much of the old
picture beside it to go on from. Directions and zooming out are Midjourney's.
"""

from typing import Final

import msgspec

from generation.families import family_of
from generation.models import ModelFile
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import SIDE_MIN
from generation.request_parts import Extension
from generation.rules import Limits, native_size, shaped

OVERLAP: Final = 32
"""The old picture's edge is drawn anew so deep: a share of its shorter side, in pixels within
OVERLAP_LEAST and OVERLAP_MOST."""
OVERLAP_LEAST: Final = 8
OVERLAP_MOST: Final = 32
BLUR: Final = 4
"""The mask's edge is blurred by that share of the overlap, within which it stays."""
ENOUGH: Final = 0.5
"""What can grow by less than that share of what is wanted has grown enough."""
PADDING_MOST: Final = 256
WHOLE: Final = 1.5
"""A canvas of so many times the pixels that a model was trained on is drawn whole: more of the old
picture is seen."""


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """How far to which sides, as shares of the picture; or how much smaller it becomes in a canvas
    of its own size.
    """

    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    zoom: float = 1.0


LEFT: Final = Sides(left=0.5)
RIGHT: Final = Sides(right=0.5)
UP: Final = Sides(top=0.5)
DOWN: Final = Sides(bottom=0.5)
ZOOM_OUT: Final = Sides(zoom=1.5)
ZOOM_OUT_MORE: Final = Sides(zoom=2.0)
ALL_AROUND: Final = Sides(left=0.25, right=0.25, top=0.25, bottom=0.25)


def extended(
    request: GenerationRequest,
    picture: str,
    size: tuple[int, int],
    sides: Sides,
    model: ModelFile,
    limits: Limits,
) -> GenerationRequest:
    """A request that draws what is new around a picture of that hash and size in pixels; `request`
    says how that was drawn. Raises Refused where it can grow no further.
    """
    step = family_of(model).side_step
    if sides.zoom > 1:
        made = _zoomed(size, sides.zoom)
    else:
        larger = request.enlargement is not None or request.hires is not None
        drawn = size if larger else (request.width, request.height)
        made = _grown(size, drawn, sides, limits.upscaled_side, step)
    whole = made.canvas
    few = whole[0] * whole[1] <= WHOLE * native_size(model) ** 2
    across, down = whole if few and _fits(whole, limits) else window(made)
    width, height = across, down
    if (
        not _fits((across, down), limits)
        or across % step
        or down % step
        or min(across, down) < SIDE_MIN
    ):
        width, height = shaped(model, across / down, request.width * request.height, limits)
    blur = made.overlap // BLUR
    return request.unmasked(
        init_picture=picture,
        extension=msgspec.to_builtins(made),
        masked_content="fill",
        inpaint_area="only masked",
        mask_blur=blur,
        mask_padding=_padding(made, blur),
        denoising_strength=1.0,
        width=width,
        height=height,
        enlargement=None,
    )


def window(made: Extension) -> tuple[int, int]:
    """Width and height of what is drawn of a canvas that is large: where it grows to one side what
    is new and as much of the old, else all of it.
    """
    width, height = made.canvas
    across, down = made.left + made.right, made.top + made.bottom
    if not down and not (made.left and made.right):
        return min(width, 2 * across), height
    if not across and not (made.top and made.bottom):
        return width, min(height, 2 * down)
    return width, height


def _fits(size: tuple[int, int], limits: Limits) -> bool:
    return max(size) <= limits.side and size[0] * size[1] <= limits.pixels


def _padding(made: Extension, blur: int) -> int:
    """Around the mask, so that what is drawn is no more than the window and has its shape."""
    spread = int(2.5 * blur + 0.5)
    new = max(made.left + made.right, made.top + made.bottom)
    return max(0, min(PADDING_MOST, (new - made.overlap - spread) // 2))


def _zoomed(size: tuple[int, int], zoom: float) -> Extension:
    width, height = size
    inner = max(1, round(width / zoom)), max(1, round(height / zoom))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    return Extension(
        width=inner[0],
        height=inner[1],
        left=left,
        right=width - inner[0] - left,
        top=top,
        bottom=height - inner[1] - top,
        overlap=_overlap(inner),
    )


def _grown(
    size: tuple[int, int], drawn: tuple[int, int], sides: Sides, most: int, step: int
) -> Extension:
    """`drawn` is the size that the model drew: what is new is a share of that where the picture has
    grown before.
    """
    left, right = _new(size[0], min(size[0], drawn[0]), sides.left, sides.right, most, step)
    top, bottom = _new(size[1], min(size[1], drawn[1]), sides.top, sides.bottom, most, step)
    return Extension(
        width=size[0],
        height=size[1],
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        overlap=_overlap(size),
    )


def _new(
    side: int, base: int, before: float, behind: float, most: int, step: int
) -> tuple[int, int]:
    """Pixels at both ends of a side, so that it is a multiple of `step` and at most `most`."""
    share = before + behind
    if not share:
        return 0, 0
    wanted = round((side + share * base) / step) * step
    length = min(wanted, most // step * step)
    if length - side < ENOUGH * share * base:
        raise Refused("extended_enough", side=most)
    first = round((length - side) * before / share)
    return first, length - side - first


def _overlap(size: tuple[int, int]) -> int:
    return min(OVERLAP_MOST, max(OVERLAP_LEAST, min(size) // OVERLAP))
