"""A face brought into the place that restorers know, and back into its picture.

The place is that of FFHQ's faces in 512 pixels, to which GFPGAN, CodeFormer and RestoreFormer were
trained; a similarity (turned, scaled, moved) leads there, by least squares (Umeyama, 1991).
"""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from generation.runtime.face_detection import Points
from generation.runtime.face_restorers import SIDE

FacePixels = npt.NDArray[np.float32]
"""(H, W, 3), from 0 to 255."""
Transform = npt.NDArray[np.float64]
"""(2, 3): from pixels of the picture to those of the face."""
TEMPLATE: Final[Points] = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Where the landmarks of FFHQ's faces lie."""
BEYOND: Final = (135, 133, 132)
"""What is beyond the picture's edge, as restorers were trained: RGB."""
BORDER, FEATHER = 0.05, 0.15
"""Shares of a face's side: how far from its edge nothing of it shows, and from where on all."""
TONE: Final = SIDE / 16
"""Spread in pixels of what counts as the colour of a place, which is kept."""


def alignment(points: Points) -> Transform | None:
    """What leads a face's landmarks nearest to the template; None where they lie on one place."""
    centre, goal = points.mean(0), TEMPLATE.mean(0)
    own, wanted = points - centre, TEMPLATE - goal
    spread = (own**2).sum()
    if not np.isfinite(spread) or spread < 1e-6:
        return None
    u, values, vh = np.linalg.svd(wanted.T @ own)
    # turned, never mirrored
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vh)) or 1.0])
    turned = u @ np.diag(signs) @ vh * ((values * signs).sum() / spread)
    return np.hstack((turned, (goal - turned @ centre)[:, None]))


def cropped(pixels: FacePixels, transform: Transform) -> FacePixels:
    """The face, SIDE pixels wide and high."""
    scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    if scale < 1:
        # else what is made smaller would flicker
        spread = (1 / scale - 1) / 2
        blurred = cv2.GaussianBlur(pixels, (0, 0), max(spread, 0.1))
        pixels = np.asarray(blurred, np.float32)
    face = cv2.warpAffine(
        pixels,
        transform,
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=BEYOND,
    )
    return np.asarray(face, np.float32)


def in_tone(face: FacePixels, restored: FacePixels) -> FacePixels:
    """What was restored, in the colours that the face had there."""
    tone = cv2.GaussianBlur(face - restored, (0, 0), TONE)
    return restored + np.asarray(tone, np.float32)


def pasted(
    pixels: FacePixels, face: FacePixels, transform: Transform, strength: float
) -> FacePixels:
    """The picture with the face in its place, its edges soft; `strength` is how much it shows.

    Outside of the face each pixel stays as it was.
    """
    high, wide = pixels.shape[:2]
    back = cv2.invertAffineTransform(transform)
    corners = np.array([[0, 0, 1], [SIDE, 0, 1], [0, SIDE, 1], [SIDE, SIDE, 1]]) @ back.T
    left, top = np.clip(np.floor(corners.min(0)), 0, (wide, high)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, (wide, high)).astype(int)
    if right <= left or bottom <= top:
        return pixels
    back[:, 2] -= (left, top)
    size = (int(right - left), int(bottom - top))
    edge = cv2.BORDER_REPLICATE
    placed = cv2.warpAffine(face, back, size, flags=cv2.INTER_LINEAR, borderMode=edge)
    mask = cv2.warpAffine(_mask(), back, size, flags=cv2.INTER_LINEAR)[:, :, None] * strength
    found = pixels.copy()
    there = found[top:bottom, left:right]
    found[top:bottom, left:right] = there + (placed - there) * mask
    return found


def _mask() -> npt.NDArray[np.float32]:
    """(SIDE, SIDE): 0 at the edge, 1 within, and smooth between."""
    places = np.arange(SIDE) + 0.5
    depth = np.minimum(places, SIDE - places) / SIDE
    share = np.clip((depth - BORDER) / (FEATHER - BORDER), 0, 1)
    smooth = share * share * (3 - 2 * share)
    return np.outer(smooth, smooth).astype(np.float32)
