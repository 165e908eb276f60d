"""A picture on a larger canvas, and the mask of what is new of it."""

import numpy as np
from PIL import Image

from generation.request_parts import Extension


def on_canvas(picture: Image.Image, made: Extension) -> Image.Image:
    """The picture in its place, scaled where it is to be smaller, its edge drawn out around it."""
    inner = picture
    if picture.size != (made.width, made.height):
        inner = picture.resize((made.width, made.height), Image.Resampling.LANCZOS)
    edges = (made.top, made.bottom), (made.left, made.right), (0, 0)
    return Image.fromarray(np.pad(np.asarray(inner), edges, "edge"))


def new_part(made: Extension) -> Image.Image:
    """In greys, white where the canvas is new, and over the edge of the old picture there."""
    mask = Image.new("L", made.canvas, 255)
    deep = {side: made.overlap if getattr(made, side) else 0 for side in made.SIDES}
    left, top = made.left + deep["left"], made.top + deep["top"]
    right = made.left + made.width - deep["right"]
    bottom = made.top + made.height - deep["bottom"]
    if right > left and bottom > top:
        mask.paste(0, (left, top, right, bottom))
    return mask
