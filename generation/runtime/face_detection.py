"""Where the faces of a picture are: OpenCV's YuNet, through its FaceDetectorYN.

Source: OpenCV's documentation of FaceDetectorYN; Wu, Peng and Yu, YuNet: A Tiny Millisecond-level
Face Detector (2023).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.models import ModelFile
from generation.request_fields import FaceChoice
from generation.runtime.faults import JobError

Points = npt.NDArray[np.float64]
"""(5, 2), x and y in pixels: the eyes, the nose, the corners of the mouth, each from the left of
the picture to its right."""
SIDES: Final = (640, 1280)
"""Pixels of the longer side in which a picture is looked at: large faces are found in the first,
small ones in the second."""
SCORE: Final = 0.6
"""From which on it is a face; drawn ones seldom have OpenCV's 0.9."""
OVERLAP: Final = 0.3
"""Of two places, from which on they are one face."""
NEAR: Final = 0.25
"""Of a face's width: no second nose is so near."""
NOSE: Final = 2
"""Its place among the landmarks."""
FACES_MAX: Final = 50


class Face(NamedTuple):
    """One face: its box in pixels and its landmarks."""

    left: float
    top: float
    width: float
    height: float
    score: float
    points: Points

    @property
    def area(self) -> float:
        """Of its box, in pixels."""
        return self.width * self.height


def faces_in(picture: Image.Image, file: ModelFile) -> list[Face]:
    """The faces of an RGB picture, from left to right. Raises JobError for a file that is none."""
    pixels = np.asarray(picture)[:, :, ::-1]
    longer = max(picture.size)
    sides = [min(side, longer) for side in SIDES]
    found: list[Face] = []
    try:
        weights = np.frombuffer(Path(file.path).read_bytes(), np.uint8)
        nothing = np.zeros(0, np.uint8)
        for side in dict.fromkeys(sides):
            size = tuple(max(1, round(length * side / longer)) for length in picture.size)
            detector = cv2.FaceDetectorYN.create(
                "onnx", weights, nothing, size, SCORE, OVERLAP, FACES_MAX
            )
            small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            _, rows = detector.detect(small)
            seen = [] if rows is None else [_face(row, longer / side) for row in rows]
            found += [face for face in seen if not any(_same(face, other) for other in found)]
    except cv2.error as error:
        raise JobError("face_detector_kind", name=file.name) from error
    return sorted(found, key=lambda face: face.left + face.width / 2)


def chosen(faces: Sequence[Face], which: FaceChoice) -> list[Face]:
    """Those that are meant, of faces from left to right."""
    match which:
        case "none":
            return []
        case "all":
            return list(faces)
        case "largest":
            return [max(faces, key=lambda face: face.area)] if faces else []
    place = int(which) - 1
    return list(faces[place : place + 1])


def _face(row: npt.NDArray[np.float32], scale: float) -> Face:
    """Of a box, five points (of the eyes the one first that is left in the picture) and a score."""
    values = row.astype(np.float64) * scale
    left, top, width, height = map(float, values[:4])
    return Face(left, top, width, height, float(row[14]), values[4:14].reshape(5, 2))


def _same(one: Face, other: Face) -> bool:
    """Whether two places are one face: they overlap, or have one nose."""
    between = float(np.hypot(*(one.points[NOSE] - other.points[NOSE])))
    if between < NEAR * min(one.width, other.width):
        return True
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    both = max(0.0, wide) * max(0.0, high)
    return both > OVERLAP * (one.area + other.area - both)
