"""What of a picture a mask has drawn anew, in greys: blurred, and in the size that is drawn.

Pillow and numpy alone, so that the bot can tell of a request that it would draw nothing.
"""

from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from generation.canvas import new_part
from generation.mask_region import Box, around, contained
from generation.request import GenerationRequest

KERNEL: Final = 2.5
"""Standard deviations of the blur that are looked at to either side, as A1111 does."""


WHITE: Final = 128
"""Of 255: from which on a latent is drawn anew."""


class DrawnPart(NamedTuple):
    """White where all is drawn anew, blurred."""

    greys: Image.Image
    """Of the size that is drawn."""
    whole: Image.Image | None = None
    """Where only what is masked is drawn, of the whole picture's size."""
    box: Box | None = None
    """What of that is drawn."""


def drawn_part(
    request: GenerationRequest, mask: Image.Image | None, size: tuple[int, int]
) -> DrawnPart | None:
    """That of a request with this mask, in greys, over a picture of that size in pixels; None where
    only what is masked is drawn, and nothing is. A larger canvas needs no mask.
    """
    drawn = (request.width, request.height)
    if request.extension is not None:
        greys = new_part(request.extension)
    else:
        assert mask is not None
        greys = mask.convert("L").resize(size)
    if request.mask_mode == "not masked":
        greys = ImageOps.invert(greys)
    if request.inpaint_area == "only masked":
        soft = blurred(greys, request.mask_blur)
        box = around(soft, request.mask_padding, *drawn)
        return None if box is None else DrawnPart(contained(soft.crop(box), *drawn), soft, box)
    fitting = ImageOps.fit(greys, drawn, Image.Resampling.LANCZOS)
    return DrawnPart(blurred(fitting, request.mask_blur))


def blurred(mask: Image.Image, spread: int) -> Image.Image:
    """Greys under a Gaussian of that standard deviation in pixels, across and then down."""
    if spread == 0:
        return mask
    values, radius = np.asarray(mask), int(KERNEL * spread + 0.5)
    for axis in (1, 0):
        soft = ndimage.gaussian_filter1d(
            values.astype(np.float32), spread, axis, mode="mirror", radius=radius
        )
        values = soft.round().astype(np.uint8)
    return Image.fromarray(values)


def latent_greys(greys: Image.Image, width: int, height: int) -> Image.Image:
    """A drawn part in the size of its latents."""
    return greys.resize((width, height), Image.Resampling.BICUBIC)


def draws_nothing(
    request: GenerationRequest, mask: Image.Image, size: tuple[int, int], factor: int
) -> bool:
    """Whether no latent, of `factor` pixels a side, would be drawn anew."""
    part = drawn_part(request, mask, size)
    if part is None:
        return True
    found = latent_greys(part.greys, request.width // factor, request.height // factor)
    least = 1 if request.differential == "on" else WHITE
    return found.point(lambda grey: 255 * (grey >= least)).getbbox() is None
