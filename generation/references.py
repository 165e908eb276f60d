"""The pictures that a model is shown which edits them: which ones, and in which size."""

from collections.abc import Mapping
from typing import Final

from generation.families import Family, References
from generation.request import GenerationRequest
from generation.request_fields import PictureHash

Sizes = Mapping[PictureHash, tuple[int, int]]
"""Width and height in pixels of pictures in the store, as far as they are known."""
NO_SIZES: Final[Sizes] = {}


def of(request: GenerationRequest, family: Family) -> tuple[PictureHash, ...]:
    """What a model of that family or variant is shown; () where it takes a given picture for one to
    start from.
    """
    row = family.references
    if row is None or (row.starts and request.denoising_strength < 1):
        return ()
    return request.shown


def shown_size(size: tuple[int, int], family: Family, native: int) -> tuple[int, int]:
    """Width and height in which a picture of that size is shown to a model whose training pictures
    were `native` pixels a side.

    Sources: of shapes diffusers' FluxKontextPipeline, which takes the one whose width over height
    is the nearest.
    """
    row = family.references
    assert row is not None
    wide, high = size
    ratio = wide / high
    if row.shapes and native == family.native_size:
        sides = (*row.shapes, *(shape[::-1] for shape in row.shapes))
        return min(sides, key=lambda shape: (abs(ratio - shape[0] / shape[1]), *shape))
    area = native**2 if row.enlarges else min(native**2, wide * high)
    step = row.step
    across, down = (area * ratio) ** 0.5, (area / ratio) ** 0.5
    return max(step, round(across / step) * step), max(step, round(down / step) * step)


def shapes_of(family: Family) -> tuple[tuple[int, int], ...]:
    """The shapes of the pictures that one draws which edits pictures, the wide ones."""
    row: References | None = family.references
    return row.shapes if row is not None and row.shapes else family.buckets
