"""What stands before its background, cut out: the rest becomes transparent."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.families.background_removers import REMOVERS, Remover
from generation.runtime.faults import JobError, NotFiniteError
from generation.runtime.onnx_session import OnnxNetwork

Shares = npt.NDArray[np.float32]
"""(H, W), from 0 to 1: how much of each pixel is kept."""
SPREADS: Final = (90, 6)
"""Sides in pixels in which colours are guessed that shine through an edge: first far, then near."""
LITTLE: Final = 1e-5


def cut_out(picture: Image.Image, network: OnnxNetwork) -> Image.Image:
    """The RGB picture in RGBA, with its background transparent.

    Raises JobError for a file that can't be used, and NotFiniteError.
    """
    kept = shares(picture, network, REMOVERS[network.file.family])
    pixels = foreground(np.asarray(picture).astype(np.float32), kept)
    whole = np.dstack((pixels, kept * 255)).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(whole)


def shares(picture: Image.Image, network: OnnxNetwork, remover: Remover) -> Shares:
    """How much of each pixel is kept, in the picture's own size."""
    name, shape = network.input
    if len(shape) != 4:
        raise JobError("background_remover_kind", name=network.file.name)
    high, wide = (shape[2] or remover.side, shape[3] or remover.side)
    small = picture.resize((wide, high), Image.Resampling.LANCZOS)
    values = np.asarray(small).astype(np.float32)
    # rembg's way: by the brightest, not by 255
    values /= max(float(values.max()), LITTLE)
    scaled = (values - np.array(remover.mean)) / np.array(remover.deviation)
    given = scaled.transpose(2, 0, 1)[None].astype(np.float32)
    found = np.asarray(network.run({name: given}, network.outputs[:1])[0], np.float64)
    found = found.reshape(found.shape[-2:]) if found.size == high * wide else found
    if found.shape != (high, wide):
        raise JobError("background_remover_kind", name=network.file.name)
    if not np.isfinite(found).all():
        raise NotFiniteError
    if remover.logits:
        found = 1 / (1 + np.exp(-found.clip(-50, 50)))
    low, top = float(found.min()), float(found.max())
    if top - low > LITTLE:
        found = (found - low) / (top - low)
    mask = Image.fromarray((found.clip(0, 1) * 255).astype(np.uint8))
    full = mask.resize(picture.size, Image.Resampling.LANCZOS)
    return np.asarray(full).astype(np.float32) / np.float32(255)


def foreground(pixels: npt.NDArray[np.float32], kept: Shares) -> npt.NDArray[np.float32]:
    """The colours of what is kept alone, without the background's that shines through its edges.

    Where all is kept they are the picture's own. Source: Forte, Approximate Fast Foreground Colour
    Estimation (2021): blur fusion, twice.
    """
    alpha = kept[:, :, None]
    front = back = pixels
    for side in SPREADS:
        weight = _blurred(kept, side)[:, :, None]
        near = _blurred(front * alpha, side) / (weight + LITTLE)
        far = _blurred(back * (1 - alpha), side) / (1 - weight + LITTLE)
        front = (near + alpha * (pixels - alpha * near - (1 - alpha) * far)).clip(0, 255)
        back = far
    return np.where(alpha == 1, pixels, front).astype(np.float32)


def _blurred(values: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    blurred = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)
