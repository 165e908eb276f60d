"""Masks of requests, held against their pictures before anything is queued."""

import asyncio
import io
from typing import Final

from PIL import Image

from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.models import ModelKind
from generation.picture_files import size_of
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage.jobs import JobStore

SHAPES_APART: Final = 1.5
"""A mask is scaled to its picture where its shape is at most so many times wider or narrower."""


async def check_masked(request: GenerationRequest, jobs: JobStore, catalog: Catalog) -> None:
    """Refuse a mask of quite another shape than its picture, and one that would leave nothing to
    draw. Raises Refused.
    """
    if request.init_picture is None or request.mask is None or request.enlargement is not None:
        return
    size = await jobs.upload_size(request.init_picture)
    data = await jobs.read_upload(request.mask)
    of_mask = size_of(data)
    apart = of_mask[0] * size[1] / (of_mask[1] * size[0])
    if max(apart, 1 / apart) > SHAPES_APART:
        raise Refused(
            "mask_shape",
            width=of_mask[0],
            height=of_mask[1],
            picture_width=size[0],
            picture_height=size[1],
        )
    if request.mask_words is not None:
        return  # what of it is drawn is only found then
    model = catalog.find(ModelKind.CHECKPOINT, request.model)
    family = FAMILIES.get(model.family) if model is not None else None
    if family is None:
        return
    if await asyncio.to_thread(_nothing, request, data, size, family.latents.factor):
        raise Refused("mask_too_fine")


def _nothing(request: GenerationRequest, data: bytes, size: tuple[int, int], factor: int) -> bool:
    """Of a mask that the decoder has made a plain PNG of."""
    # here, for numpy and scipy take a while to load
    from generation.mask_shapes import draws_nothing

    with Image.open(io.BytesIO(data)) as mask:
        return draws_nothing(request, mask, size, factor)
