"""What makes control pictures of pictures: which preprocessors there are, what they are called in
A1111, which files they need, and which is usual for a ControlNet.

Source of the names, sliders and defaults: Mikubill, github.com/Mikubill/sd-webui-controlnet.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from generation.models import ModelFile
from generation.name_search import fold
from generation.refusal import known

NONE: Final = "none"
AUTO: Final = "auto"
"""What people write where the ControlNet's kind decides, as it does where they write nothing."""

Annotator = Literal["depth", "pose", "person", "softedge", "lineart"]
"""Networks beside those that draw, by what they see in a picture."""


class Slider(msgspec.Struct, frozen=True):
    """A number that a preprocessor is told, with what it is where nobody says."""

    default: float
    low: float
    high: float


class Preprocessor(msgspec.Struct, frozen=True, kw_only=True):
    """One way to make a control picture."""

    name: str
    webui: str
    """What A1111 calls it."""
    aliases: tuple[str, ...] = ()
    """What A1111 and ComfyUI call what does the same, or nearly."""
    a: Slider | None = None
    b: Slider | None = None
    """A1111's `Threshold A` and `Threshold B`."""
    needs: tuple[Annotator, ...] = ()
    sized: bool = True
    """Whether it works at a resolution; what does not keeps the picture's own."""


PREPROCESSORS: Final[Mapping[str, Preprocessor]] = {
    one.name: one
    for one in (
        Preprocessor(name=NONE, webui="none", sized=False),
        Preprocessor(name="canny", webui="canny", a=Slider(100, 1, 255), b=Slider(200, 1, 255)),
        Preprocessor(
            name="lineart",
            webui="lineart_standard (from white bg & black line)",
            aliases=("lineart_standard",),
        ),
        Preprocessor(
            name="lineart_realistic",
            webui="lineart_realistic",
            aliases=("lineart_coarse", "lineart_anime", "lineart_anime_denoise"),
            needs=("lineart",),
        ),
        Preprocessor(
            name="scribble",
            webui="scribble_xdog",
            aliases=("xdog", "fake_scribble"),
            a=Slider(32, 1, 64),
        ),
        Preprocessor(
            name="scribble_hed",
            webui="scribble_hed",
            aliases=("scribble_pidinet",),
            needs=("softedge",),
        ),
        Preprocessor(
            name="softedge",
            webui="softedge_hed",
            aliases=("hed", "softedge_hedsafe", "softedge_pidinet", "softedge_pidisafe", "pidinet"),
            needs=("softedge",),
        ),
        Preprocessor(
            name="depth",
            webui="depth_anything_v2",
            aliases=(
                *("depth_anything", "depth_midas", "depth_zoe", "depth_leres", "depth_leres++"),
                *("midas", "zoe", "leres"),
            ),
            needs=("depth",),
        ),
        Preprocessor(
            name="normal",
            webui="normal_midas",
            aliases=("normal_bae", "normal_dsine", "normalbae"),
            a=Slider(0.4, 0, 1),
            needs=("depth",),
        ),
        Preprocessor(
            name="pose",
            webui="dw_openpose_full",
            aliases=(
                *("openpose_full", "openpose", "openpose_hand", "openpose_face", "dwpose"),
                *("openpose_faceonly", "dw_openpose"),
            ),
            needs=("person", "pose"),
        ),
        Preprocessor(
            name="tile",
            webui="tile_resample",
            aliases=("tile_colorfix", "tile_colorfix+sharp"),
            a=Slider(1, 1, 8),
            sized=False,
        ),
        Preprocessor(
            name="blur",
            webui="blur_gaussian",
            aliases=("tile_gaussian",),
            a=Slider(9, 0.01, 64),
        ),
        Preprocessor(
            name="invert",
            webui="invert (from white bg & black line)",
            aliases=("invert (from black bg & white line)",),
            sized=False,
        ),
        Preprocessor(
            name="recolor",
            webui="recolor_luminance",
            aliases=("recolor_intensity", "grayscale", "gray", "grey"),
            a=Slider(1, 0.1, 2),
            sized=False,
        ),
    )
}

_BY_FOLD: Final = {
    fold(name): one.name
    for one in PREPROCESSORS.values()
    for name in (*one.aliases, one.webui, one.name)
}

_OF_NAMES: Final[tuple[tuple[str, str], ...]] = (
    (r"soft[-_ ]?edge|hed|pidi(net)?", "softedge"),
    (r"inpaint\w*|ip2p|shuffle|seg\w*|qr\w*|mlsd|brightness|illumination|reference|color", NONE),
    (r"lineart\w*|anime[-_ ]?line\w*", "lineart"),
    (r"scribbles?|sketch(es)?", "scribble"),
    (r"canny|edges?", "canny"),
    (r"depth\w*|zoe\w*|midas", "depth"),
    (r"normals?(bae|map)?", "normal"),
    (r"(open|dw|key)?poses?", "pose"),
    (r"tile", "tile"),
    (r"blur", "blur"),
    (r"recolou?r|gr[ae]y(scale)?", "recolor"),
)
"""Words in a ControlNet's name, and what makes the pictures that it reads; the first one holds."""
_OF_KINDS: Final[Mapping[str, str]] = {
    "openpose": "pose",
    "depth": "depth",
    "hed": "softedge",
    "pidi": "softedge",
    "scribble": "scribble",
    "canny": "canny",
    "lineart": "lineart",
    "anime_lineart": "lineart",
    "normal": "normal",
    "tile": "tile",
    "blur": "blur",
    "gray": "recolor",
}
"""The same by the kinds that unions are told."""
CANNY_VARIANT: Final = "canny"


def named(name: str) -> str:
    """A preprocessor by any of its names, whatever its case. Raises Refused with the nearest."""
    found = _BY_FOLD.get(fold(name))
    return known(name, PREPROCESSORS, "preprocessor_unknown") if found is None else found


def find(name: str) -> str | None:
    """The same; None where there is no such."""
    return _BY_FOLD.get(fold(name))


def usual_for(net: ModelFile, kind: str | None) -> str:
    """What makes the pictures that a ControlNet reads, by the kind that a union is told or else by
    its name, as A1111 tells it; NONE where nothing says.
    """
    if kind is not None:
        return _OF_KINDS.get(kind, NONE)
    if net.variant == CANNY_VARIANT:
        return "canny"
    for words, preprocessor in _OF_NAMES:
        if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", net.name.casefold()):
            return preprocessor
    return NONE
