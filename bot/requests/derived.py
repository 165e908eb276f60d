"""Requests that come of another and its pictures: rerolled, varied, enlarged, extended, …"""

import random
from collections.abc import Callable
from typing import Final

import msgspec

from generation import describing
from generation.job import Job, PictureRecord
from generation.outpainting import Sides
from generation.refusal import Refused
from generation.request import NO_HIRES, GenerationRequest
from generation.request_fields import FURTHER_PICTURES, LINEAGE_MAX, RANDOM_SEED_MAX
from generation.request_parts import Describing, Enlargement, Variation

SUBTLE: Final = 0.15
STRONG: Final = 0.45
"""Variation strengths: how far the noise goes towards another seed's."""
VARIATIONS: Final = 4
OLD_STRENGTH: Final = 0.3
"""Denoising strength by which requests are known that enlarged pictures before upscalers did."""


class Source(msgspec.Struct, frozen=True):
    """What new pictures are made from: one picture of a finished job, or all of it."""

    job: Job
    index: int | None
    enlarge: Callable[[PictureRecord], Enlargement]
    """What is done to one of its pictures. Raises Refused."""
    extend: Callable[[PictureRecord, Sides], GenerationRequest]
    """What draws around one of its pictures. Raises Refused."""
    describe: Callable[[PictureRecord], Describing]
    """How one of its pictures is described. Raises Refused."""
    count_max: int
    """How many pictures one request may have."""
    larger: Callable[[GenerationRequest], GenerationRequest]
    """The request with a hires pass. Raises Refused."""
    in_full: Callable[[GenerationRequest], GenerationRequest]
    """A draft drawn in full. Raises Refused for what is none."""

    @property
    def picture(self) -> PictureRecord:
        """The picture in question; the first where none is named. Raises Refused."""
        wanted = self.index or 0
        for picture in self.job.pictures:
            if picture.index == wanted:
                return picture
        raise Refused("own_picture_gone", job=self.job.id)


def reroll(source: Source) -> GenerationRequest:
    """The same request with another seed; of variations, others of the same picture."""
    request = source.job.request
    if request.only_enlarges:
        # an upscaler gives the same each time: what it enlarged is drawn anew
        request = drawn(source.job)
    varied = request.varied and request.enlargement is None
    return request.with_(**{"variation_seed" if varied else "seed": _new_seed()})


def finished(source: Source) -> GenerationRequest:
    """The picture made larger, its faces restored, …; how it was drawn stays in the request."""
    picture = source.picture
    return source.job.request.with_(
        seed=picture.seed,
        variation_seed=picture.variation_seed,
        count=1,
        enlargement=msgspec.to_builtins(source.enlarge(picture)),
    )


def hires(source: Source) -> GenerationRequest:
    """The same picture, drawn larger in a second pass over it."""
    if source.job.request.hires is not None:
        raise Refused("hires_already", job=source.job.id)
    return source.larger(same_picture(source))


def hd(source: Source) -> GenerationRequest:
    """A draft drawn in full, from the same seed."""
    return source.in_full(same_picture(source))


def same_picture(source: Source) -> GenerationRequest:
    """The request of one picture of a job alone, before it was enlarged."""
    picture = source.picture
    return drawn(source.job).with_(
        seed=picture.seed, variation_seed=picture.variation_seed, count=1
    )


def describe(source: Source) -> GenerationRequest:
    """What the picture shows."""
    return describing.request_of(source.describe(source.picture))


def drawn(job: Job) -> GenerationRequest:
    """How the picture was drawn that a job shows, before it was enlarged. Raises Refused for one
    that was not drawn here.
    """
    if not job.request.prompt:
        raise Refused("not_drawn_here")
    return job.request.with_(enlargement=None)


def enlarged(job: Job) -> bool:
    """Whether a job's picture was drawn larger than people may ask for, as enlarging once was: by
    itself, or as one that was made again.
    """
    request = job.request
    if request.enlargement is not None:
        return False
    again = (
        job.action in ("reroll", "replay", "retry")
        and request.init_picture is not None
        and request.denoising_strength == OLD_STRENGTH
    )
    return job.action == "upscale" or request.tile > 0 or again


def vary_subtle(source: Source) -> GenerationRequest:
    """Close relatives of a picture."""
    return _vary(source, SUBTLE)


def vary_strong(source: Source) -> GenerationRequest:
    """Distant relatives of a picture."""
    return _vary(source, STRONG)


def start_from(source: Source) -> GenerationRequest:
    """An img2img from a picture: the request that the dialog begins with."""
    request = drawn(source.job)
    return afresh(request.unmasked(init_picture=source.picture.file, denoising_strength=0.6))


def extend(sides: Sides) -> Callable[[Source], GenerationRequest]:
    """The picture on a larger canvas, what is new of it drawn."""
    return lambda source: source.extend(source.picture, sides)


def afresh(request: GenerationRequest) -> GenerationRequest:
    """What only the picture was drawn with that is gone on from left out, and with another seed."""
    return request.with_(
        **NO_HIRES,
        **dict.fromkeys(FURTHER_PICTURES),
        tile=0,
        seed=_new_seed(),
        variation_seed=None,
        variation_strength=0.0,
        lineage=(),
        controls=msgspec.to_builtins(request.own_controls),
        enlargement=None,
    )


def _vary(source: Source, strength: float) -> GenerationRequest:
    request, picture = drawn(source.job), source.picture
    lineage = request.lineage
    if picture.variation_seed is not None:
        # full, it ends in the parent's siblings
        parent = Variation(picture.variation_seed, request.variation_strength)
        lineage = (*lineage, parent)[:LINEAGE_MAX]
    return request.with_(
        seed=picture.seed,
        lineage=msgspec.to_builtins(lineage),
        variation_seed=_new_seed(),
        variation_strength=strength,
        count=min(VARIATIONS, source.count_max),
    )


def _new_seed() -> int:
    return random.randint(0, RANDOM_SEED_MAX)
