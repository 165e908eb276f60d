"""Skeletons of people, as ControlNets for poses read them: DWPose finds them, and they are drawn as
OpenPose draws them.

Sources: Yang et al., "Effective Whole-body Pose Estimation with Two-stages Distillation",
github.com/IDEA-Research/DWPose; the colours and limbs are those of
github.com/Mikubill/sd-webui-controlnet (annotator/openpose).
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np

from generation.runtime.onnx_session import OnnxNetwork
from generation.runtime.preprocessing import Rgb

Floats = np.ndarray[Any, np.dtype[np.float32]]

DETECTOR_SIDE: Final = 640
GREY: Final = 114
"""What the detector sees beside the picture."""
STRIDES: Final = (8, 16, 32)
PERSON: Final = 0
OVERLAP: Final = 0.45
LIKELY: Final = 0.3
"""From which probability on there is a person, or a joint."""
PEOPLE_MAX: Final = 20
MEAN: Final = np.array((123.675, 116.28, 103.53), np.float32)
DEVIATION: Final = np.array((58.395, 57.12, 57.375), np.float32)
AROUND: Final = 1.25
"""How much more than a person its network sees."""
FINER: Final = 2.0
"""By how much its answers are finer than pixels."""
NECK: Final = 17
SHOULDERS: Final = (5, 6)
BODY: Final = 18
FACE: Final = slice(24, 92)
HANDS: Final = (slice(92, 113), slice(113, 134))
ORDER: Final = {
    **dict(zip((1, 2, 3, 4, 6, 7, 8, 9, 10), (17, 6, 8, 10, 7, 9, 12, 14, 16), strict=True)),
    **dict(zip((12, 13, 14, 15, 16, 17), (13, 15, 2, 1, 4, 3), strict=True)),
}
"""OpenPose's joints, and which of COCO's with a neck behind them each is."""
LIMBS: Final = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11)),
    *((11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
COLOURS: Final = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
FINGERS: Final = tuple((0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21))
STICK: Final = 4
"""Pixels of a limb's half width and of a joint's radius."""
LIMB_LIGHT: Final = 0.6
NEAR_EDGE: Final = 0.01


class Skeleton(NamedTuple):
    """Joints (K, 3): x and y in pixels, and how likely each is."""

    body: Floats
    hands: tuple[Floats, ...]
    face: Floats


def skeletons(detector: OnnxNetwork, joints: OnnxNetwork, picture: Rgb) -> Rgb:
    """The people of a picture as sticks on black. Raises JobError."""
    boxes = people(detector, picture)
    found = [] if boxes is None else [joints_of(joints, picture, box) for box in boxes]
    return drawn(found, picture.shape[0], picture.shape[1])


def people(detector: OnnxNetwork, picture: Rgb) -> Floats | None:
    """Boxes (N, 4) of the people, from left top to right bottom; the whole where it is sure of
    none, and None where it sees nothing at all.
    """
    height, width = picture.shape[:2]
    share = min(DETECTOR_SIDE / height, DETECTOR_SIDE / width)
    rows, columns = max(1, int(height * share)), max(1, int(width * share))
    shown = np.full((DETECTOR_SIDE, DETECTOR_SIDE, 3), GREY, np.uint8)
    shown[:rows, :columns] = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_LINEAR)
    name, _ = detector.input
    pixels = np.ascontiguousarray(shown.transpose(2, 0, 1)[None], np.float32)
    (answer,) = detector.run({name: pixels}, detector.outputs[:1])
    rows_ = np.asarray(answer, np.float32)[0]
    cells = [
        np.stack((*np.meshgrid(np.arange(n), np.arange(n)), np.full((n, n), stride)), axis=2)
        for stride, n in ((stride, DETECTOR_SIDE // stride) for stride in STRIDES)
    ]
    grid = np.concatenate([cell.reshape(-1, 3) for cell in cells]).astype(np.float32)
    middle = (rows_[:, :2] + grid[:, :2]) * grid[:, 2:]
    size = np.exp(rows_[:, 2:4].clip(-20, 20)) * grid[:, 2:]
    boxes = np.concatenate((middle - size / 2, middle + size / 2), axis=1) / share
    scores = rows_[:, 4:5] * rows_[:, 5:]
    if not (scores > 0.1).any():
        return None
    sure = scores[:, PERSON] > LIKELY
    kept = _apart(boxes[sure], scores[sure, PERSON])
    if not len(kept):
        return np.array([[0, 0, width, height]], np.float32)
    return kept[:PEOPLE_MAX]


def _apart(boxes: Floats, scores: Floats) -> Floats:
    """The likeliest of boxes that lie over each other, likeliest first."""
    order = scores.argsort()[::-1]
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    kept = []
    while len(order):
        first, others = order[0], order[1:]
        kept.append(first)
        corner = np.maximum(boxes[first, :2], boxes[others, :2])
        end = np.minimum(boxes[first, 2:], boxes[others, 2:])
        shared = (end - corner + 1).clip(0).prod(axis=1)
        over = shared / (areas[first] + areas[others] - shared)
        order = others[over <= OVERLAP]
    return boxes[kept]


def joints_of(network: OnnxNetwork, picture: Rgb, box: Floats) -> Skeleton:
    """The joints of whoever is in a box."""
    name, shape = network.input
    rows, columns = shape[2:4]
    middle = (box[:2] + box[2:]) / 2
    wide, tall = (box[2:] - box[:2]) * AROUND
    wide, tall = max(wide, tall * columns / rows, 1.0), max(tall, wide * rows / columns, 1.0)
    share = columns / wide
    moved = np.array(
        [[share, 0, columns / 2 - share * middle[0]], [0, share, rows / 2 - share * middle[1]]]
    )
    shown = cv2.warpAffine(picture, moved, (columns, rows), flags=cv2.INTER_LINEAR)
    pixels = ((shown - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
    across, down = network.run(
        {name: np.ascontiguousarray(pixels, np.float32)}, ["simcc_x", "simcc_y"]
    )
    likely = np.minimum(across[0].max(axis=1), down[0].max(axis=1))
    places = np.stack((across[0].argmax(axis=1), down[0].argmax(axis=1)), axis=1) / FINER
    places[likely <= 0] = -1
    corner = middle - np.array((wide, tall)) / 2
    places = places / (columns, rows) * (wide, tall) + corner
    return _person(np.concatenate((places, likely[:, None]), axis=1).astype(np.float32))


def _person(joints: Floats) -> Skeleton:
    """COCO's joints of a whole body, 133, in OpenPose's order, with a neck."""
    neck = joints[list(SHOULDERS)].mean(axis=0)
    neck[2] = float((joints[list(SHOULDERS), 2] > LIKELY).all())
    whole = np.insert(joints, NECK, neck, axis=0)
    ordered = whole.copy()
    for place, source in ORDER.items():
        ordered[place] = whole[source]
    body = ordered[:BODY]
    # OpenPose's face ends with the eyes
    face = np.concatenate((ordered[FACE], body[14:16]))
    return Skeleton(body, tuple(ordered[hand] for hand in HANDS), face)


def drawn(found: Sequence[Skeleton], height: int, width: int) -> Rgb:
    """People as sticks on black, as OpenPose draws them."""
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in found:
        canvas = _body(canvas, person.body)
        for hand in person.hands:
            if (hand[:, 2] >= LIKELY).any():
                _hand(canvas, hand)
        if (person.face[:, 2] >= LIKELY).any():
            _dots(canvas, person.face, 3, lambda _: (255, 255, 255))
    return canvas


def _body(canvas: Rgb, joints: Floats) -> Rgb:
    for (one, other), colour in zip(LIMBS, COLOURS, strict=False):
        if min(joints[one, 2], joints[other, 2]) < LIKELY:
            continue
        (x1, y1), (x2, y2) = joints[one, :2], joints[other, :2]
        length, angle = math.hypot(x1 - x2, y1 - y2), math.degrees(math.atan2(y1 - y2, x1 - x2))
        outline = cv2.ellipse2Poly(
            (int((x1 + x2) / 2), int((y1 + y2) / 2)),
            (int(length / 2), STICK),
            int(angle),
            0,
            360,
            1,
        )
        cv2.fillConvexPoly(canvas, np.array(outline, np.int32), colour)
    canvas = (canvas * LIMB_LIGHT).astype(np.uint8)
    _dots(canvas, joints, STICK, lambda number: COLOURS[number])
    return canvas


def _hand(canvas: Rgb, joints: Floats) -> None:
    for number, (one, other) in enumerate(FINGERS):
        if min(joints[one, 2], joints[other, 2]) < LIKELY or _outside(joints[[one, other]]):
            continue
        colour = [255 * part for part in colorsys.hsv_to_rgb(number / len(FINGERS), 1.0, 1.0)]
        begin, end = (tuple(map(int, joints[joint, :2])) for joint in (one, other))
        cv2.line(canvas, begin, end, colour, thickness=2)
    _dots(canvas, joints, STICK, lambda _: (0, 0, 255))


def _dots(
    canvas: Rgb, joints: Floats, radius: int, colour: Callable[[int], tuple[int, int, int]]
) -> None:
    for number, (x, y, likely) in enumerate(joints):
        if likely >= LIKELY:
            cv2.circle(canvas, (int(x), int(y)), radius, colour(number), thickness=-1)


def _outside(joints: Floats) -> bool:
    return bool((joints[:, :2] <= NEAR_EDGE).any())
