"""Networks that name what a picture shows, by their makers: how a picture is given to each.

A tagger is an ONNX file beside the list of its tags; without the list its numbers say nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

Axes = Literal["NHWC", "NCHW"]
"""Where the colours of a pixel stand: last, as TensorFlow has them, or before rows and columns."""


class Tagger(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's way."""

    title: str
    axes: Axes
    labels: tuple[str, ...]
    """Files that its tags may lie in; `*` stands for the network's own name."""
    side: int = 448
    """Pixels, where the file does not say."""
    swapped: bool = False
    """Whether blue comes first, as OpenCV has pixels."""
    scale: float = 1.0
    """What 0 to 255 are multiplied by."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Taken off after that, in the order in which the colours are given."""
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by then."""
    fit: Literal["pad", "stretch"] = "pad"
    """How a picture becomes a square: on white, or stretched."""
    outputs: tuple[str, ...] = ()
    """Which output has a number for each tag, where there are several: the first of these."""
    logits: bool = False
    """Whether probabilities are the sigmoid of what comes out."""


_CSV: Final = ("*.csv", "selected_tags.csv")
_CLIP: Final = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF: Final = (0.5, 0.5, 0.5)

TAGGERS: Final[Mapping[str, Tagger]] = {
    # SmilingWolf's: v1.4 to v3, and the demo's own
    "wd": Tagger(title="WD tagger", axes="NHWC", labels=_CSV, swapped=True),
    "pixai": Tagger(
        title="PixAI tagger",
        axes="NCHW",
        labels=_CSV,
        scale=1 / 255,
        mean=_HALF,
        deviation=_HALF,
        fit="stretch",
        outputs=("prediction",),
    ),
    "joytag": Tagger(
        title="JoyTag",
        axes="NCHW",
        labels=("top_tags.txt",),
        scale=1 / 255,
        mean=_CLIP[0],
        deviation=_CLIP[1],
        logits=True,
    ),
    "cl": Tagger(
        title="CL tagger",
        axes="NCHW",
        labels=("*_tag_mapping.json", "tag_mapping.json"),
        swapped=True,
        scale=1 / 255,
        mean=_HALF,
        deviation=_HALF,
        logits=True,
    ),
    "deepdanbooru": Tagger(
        title="DeepDanbooru", axes="NHWC", labels=("tags.txt",), side=512, scale=1 / 255
    ),
}
"""By the family that their files have in the catalogue."""
LABEL_FILES: Final = tuple(dict.fromkeys(name for row in TAGGERS.values() for name in row.labels))
LABELS_WANTED: Final = "selected_tags.csv"
"""What nearly all taggers have."""


def label_names(stem: str) -> tuple[str, ...]:
    """The files that the tags of a network of that name may lie in, the likeliest first."""
    return tuple(name.replace("*", stem) for name in LABEL_FILES)


def tagger_of(axes: Axes, stem: str, beside: Iterable[str]) -> tuple[str, str]:
    """The family of a network whose pictures are laid out so, and the file of its tags.

    `beside` are the names of the label files that lie beside it. "" and "" where none of its
    layout does.
    """
    there = {name.lower(): name for name in beside}
    for family, row in TAGGERS.items():
        if row.axes != axes:
            continue
        for name in row.labels:
            found = there.get(name.replace("*", stem).lower())
            if found is not None:
                return family, found
    return "", ""
