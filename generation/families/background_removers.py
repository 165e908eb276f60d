"""Networks that tell what stands before its background, by kind: how a picture is given to each.

All take a picture (1, 3, side, side) and give how much of each pixel is kept, (1, 1, side, side).
The kind is told by the file's name or its folder's, as those who publish them and rembg call them;
so are side and scaling, as rembg has them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from generation.onnx_header import OnnxHeader

Colours = tuple[float, float, float]
_IMAGENET: Final = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF: Final = (0.5, 0.5, 0.5)
_ONE: Final = (1.0, 1.0, 1.0)


class Remover(msgspec.Struct, frozen=True, kw_only=True):
    """One kind."""

    names: tuple[str, ...]
    """Pieces of its files' or folders' names, in small letters and without other signs."""
    side: int
    """Of what it is given, in pixels, where the file does not say."""
    mean: Colours
    deviation: Colours
    """A colour from 0 to 1 is given as its distance from the mean, divided by this."""
    logits: bool = False
    """Whether shares are the sigmoid of what comes out."""


REMOVERS: Final[Mapping[str, Remover]] = {
    "birefnet": Remover(
        names=("birefnet",),
        side=1024,
        mean=_IMAGENET[0],
        deviation=_IMAGENET[1],
        logits=True,
    ),
    "rmbg-1.4": Remover(names=("rmbg14",), side=1024, mean=_HALF, deviation=_ONE),
    "rmbg-2.0": Remover(names=("rmbg",), side=1024, mean=_IMAGENET[0], deviation=_IMAGENET[1]),
    "isnet-anime": Remover(names=("isnetanime",), side=1024, mean=_IMAGENET[0], deviation=_ONE),
    "isnet": Remover(names=("isnet", "dis"), side=1024, mean=_HALF, deviation=_ONE),
    "u2net": Remover(
        names=("u2net", "silueta", "rembg", "backgroundremoval"),
        side=320,
        mean=_IMAGENET[0],
        deviation=_IMAGENET[1],
    ),
}
"""In the order in which one is chosen where nobody says which; the first name that fits is it."""


def remover_of(header: OnnxHeader, names: Sequence[str]) -> str:
    """The kind of a network whose file and folders have these names, the nearest first; "" where it
    is none.
    """
    if len(header.inputs) != 1 or not header.outputs:
        return ""
    given, made = header.inputs[0].shape, header.outputs[0].shape
    if len(given) != 4 or given[1] not in (0, 3) or (made and not _is_mask(made)):
        return ""
    for name in names:
        plain = "".join(sign for sign in name.casefold() if sign.isalnum())
        for kind, row in REMOVERS.items():
            if any(piece in plain and (piece != "dis" or plain == piece) for piece in row.names):
                return kind
    return ""


def _is_mask(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[1] in (0, 1)
