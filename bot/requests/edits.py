"""What an edit by words is offered and given: pictures of a message, of a request, or uploaded."""

from typing import Any, Final

import msgspec

from generation.edit_models import PICTURES_MAX, SIDE_LEAST
from generation.job import Job
from generation.picture_files import size_of
from generation.refusal import Refused
from generation.request_fields import FURTHER_PICTURES

PLACES: Final = ("init_picture", *FURTHER_PICTURES)
"""The fields of a request that its pictures are, in order."""


class OfferedPicture(msgspec.Struct, frozen=True):
    """One picture, which is in the store or with Discord."""

    name: str
    """As people know it."""
    file: str = ""
    """Its hash in the store; "" where it is yet to be fetched."""
    index: int | None = None
    """Which one it is of the request that it was drawn for."""
    attachment: dict[str, Any] = {}
    """As Discord describes it."""


class Offered(msgspec.Struct, frozen=True):
    """The pictures that an edit may be made of, as they are kept while somebody says what to do."""

    pictures: tuple[OfferedPicture, ...]
    chosen: tuple[int, ...]
    """Places of those to begin with."""
    job: int | None = None
    """The request that drew them."""
    message: tuple[int, int] | None = None
    """Ids of the channel and the message for all to see that shows them."""

    def check(self) -> None:
        """Refuse where none are chosen, or too many."""
        if not self.chosen:
            raise Refused("edit_without_picture")
        if len(self.chosen) > PICTURES_MAX:
            raise Refused("edit_too_many", most=PICTURES_MAX, count=len(self.chosen))

    def choosing(self, places: tuple[int, ...]) -> "Offered":
        """With these chosen. Raises Refused for what is not there."""
        if any(place not in range(len(self.pictures)) for place in places):
            raise Refused("press_gone")
        return msgspec.structs.replace(self, chosen=tuple(dict.fromkeys(places)))

    def with_more(self, more: tuple[OfferedPicture, ...]) -> "Offered":
        """With further pictures, all of them chosen."""
        first = len(self.pictures)
        wider = msgspec.structs.replace(self, pictures=(*self.pictures, *more))
        return wider.choosing((*self.chosen, *range(first, first + len(more))))

    def fetched(self, place: int, file: str) -> "Offered":
        """With that picture in the store."""
        kept = msgspec.structs.replace(self.pictures[place], file=file)
        pictures = tuple(kept if at == place else one for at, one in enumerate(self.pictures))
        return msgspec.structs.replace(self, pictures=pictures)

    @property
    def missing(self) -> tuple[int, ...]:
        """Places of those that are chosen and not in the store yet."""
        return tuple(place for place in self.chosen if not self.pictures[place].file)

    @property
    def given(self) -> dict[str, str]:
        """Those that are chosen, by the field of a request, as far as they are in the store."""
        files = [self.pictures[place].file for place in self.chosen]
        return {name: file for name, file in zip(PLACES, files, strict=False) if file}

    @property
    def index(self) -> int | None:
        """Which picture of its request it is made of, where it is of one alone."""
        indexes = {self.pictures[place].index for place in self.chosen} - {None}
        return next(iter(indexes)) if len(indexes) == 1 else None


def of_job(job: Job, index: int | None = None, message: tuple[int, int] | None = None) -> Offered:
    """The pictures of a finished request: that one to begin with, or else the first; `message` is
    where all see it. Raises Refused where there are none.
    """
    found = tuple(
        OfferedPicture(f"#{job.id} · {picture.index + 1}", picture.file, picture.index)
        for picture in job.pictures
    )
    places = [place for place, one in enumerate(found) if index in (None, one.index)]
    if not job.ended:
        raise Refused("job_unfinished")
    if not places:
        raise Refused("own_picture_gone", job=job.id)
    return Offered(found, (places[0],), job.id, message)


def check_size(name: str, size: tuple[int, int]) -> None:
    """Refuse a picture of that width and height of which there is next to nothing to edit."""
    if min(size) < SIDE_LEAST:
        raise Refused("picture_too_small", file=name, width=size[0], height=size[1], low=SIDE_LEAST)


def check_file(name: str, png: bytes) -> None:
    """The same of a PNG."""
    check_size(name, size_of(png))
