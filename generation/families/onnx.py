"""How networks in ONNX files are told: by what goes in and what comes out, as data."""

from collections.abc import Iterable
from typing import Final

import msgspec

from generation.families import taggers
from generation.models import ModelKind
from generation.onnx_header import OnnxHeader, OnnxPort

ANY: Final = -1
"""A side that may have any length."""
NHWC: Final = (ANY, ANY, ANY, 3)
NCHW: Final = (ANY, 3, ANY, ANY)
CLASSES: Final = (ANY, ANY)
"""A number for each class of each picture."""


class Port(msgspec.Struct, frozen=True):
    """An input or output to be found."""

    shape: tuple[int, ...] | None
    """None where any will do."""
    name: str = ""
    """"" where any will do."""

    def fits(self, port: OnnxPort) -> bool:
        """Whether that one is it."""
        if self.shape is None or self.name not in ("", port.name):
            return self.shape is None and self.name in ("", port.name)
        return len(self.shape) == len(port.shape) and all(
            wanted in (ANY, side) for wanted, side in zip(self.shape, port.shape, strict=True)
        )


class OnnxLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file is."""

    kind: ModelKind | None
    """None for what is known and can't be used: `what` then says what it is."""
    family: str = ""
    variant: str = ""
    what: str = ""
    """In English, as the end of a sentence that begins "It is"."""
    inputs: tuple[Port, ...]
    """All of them, in order."""
    outputs: tuple[Port, ...]
    """Each fits one of its outputs, which may be more."""
    axes: taggers.Axes | None = None
    """Of a network whose classes are named in a file beside it: how pictures are given to it."""

    def matches(self, header: OnnxHeader) -> bool:
        """Whether a file is laid out so."""
        return (
            len(self.inputs) == len(header.inputs)
            and all(a.fits(b) for a, b in zip(self.inputs, header.inputs, strict=True))
            and all(any(port.fits(out) for out in header.outputs) for port in self.outputs)
        )


YUNET: Final = tuple(
    Port(None, f"{what}_{stride}")
    for what in ("cls", "obj", "bbox", "kps")
    for stride in (8, 16, 32)
)
"""What OpenCV's FaceDetectorYN reads of a network, by names."""

ONNX: Final = (
    OnnxLayout(kind=ModelKind.FACE_DETECTOR, family="yunet", inputs=(Port(NCHW),), outputs=YUNET),
    # DWPose's: whoever is in a picture, and where their joints are
    OnnxLayout(
        kind=ModelKind.ANNOTATOR,
        family="yolox",
        variant="person",
        inputs=(Port((ANY, 3, 640, 640)),),
        outputs=(Port((ANY, 8400, 85)),),
    ),
    OnnxLayout(
        kind=ModelKind.ANNOTATOR,
        family="dwpose",
        variant="pose",
        inputs=(Port((ANY, 3, 384, 288)),),
        outputs=(Port((ANY, ANY, ANY), "simcc_x"), Port((ANY, ANY, ANY), "simcc_y")),
    ),
    OnnxLayout(kind=ModelKind.TAGGER, inputs=(Port(NHWC),), outputs=(Port(CLASSES),), axes="NHWC"),
    OnnxLayout(kind=ModelKind.TAGGER, inputs=(Port(NCHW),), outputs=(Port(CLASSES),), axes="NCHW"),
)
"""The first that fits is it."""


class OnnxContents(msgspec.Struct, frozen=True, kw_only=True):
    """What an ONNX file was found to be."""

    kind: ModelKind | None = None
    family: str = ""
    variant: str = ""
    what: str = ""
    labels: str = ""
    """The file beside it that names its classes."""
    unlabelled: bool = False
    """Whether it can't be used because no such file is there."""


def onnx_contents(header: OnnxHeader, stem: str, beside: Iterable[str]) -> OnnxContents:
    """What a file of that name is; `beside` are the label files next to it, by name."""
    layout = next((one for one in ONNX if one.matches(header)), None)
    if layout is None:
        return OnnxContents()
    if layout.axes is None:
        return OnnxContents(
            kind=layout.kind, family=layout.family, variant=layout.variant, what=layout.what
        )
    family, labels = taggers.tagger_of(layout.axes, stem, beside)
    return OnnxContents(kind=layout.kind, family=family, labels=labels, unlabelled=not family)
