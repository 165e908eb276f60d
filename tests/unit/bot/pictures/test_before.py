"""What was edited is shown beside what became of it, to whom it may be shown."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.pictures.before import BeforePictures
from generation.job import Job, JobState, Origin, PictureRecord
from generation.refusal import Refused
from tests.fixtures.requests import a_request, an_origin

GIVEN, GONE = "a" * 64, "f" * 64


class Store:
    """Jobs by number, and every picture but one."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.id: job for job in jobs}

    async def get(self, job_id: int) -> Job | None:
        return self.jobs.get(job_id)

    async def read_upload(self, sha256: str) -> bytes:
        if sha256 == GONE:
            raise Refused("picture_gone")
        return sha256.encode()


class Decoder:
    async def board(self, contents: list[bytes], side: int, _name: str) -> bytes:
        return b",".join([str(side).encode(), *contents])


def a_job(number: int, action: str, parent: int | None = None, **more: Any) -> Job:
    private = more.pop("private", False)
    request = {"init_picture": GIVEN, "denoising_strength": 1.0, **more.pop("request", {})}
    return Job(
        id=number,
        state=JobState.FINISHED,
        request=a_request(**request),
        origin=an_origin(private=private),
        created_at=datetime.now(UTC),
        action=action,
        parent=parent,
        **more,
    )


async def before(*jobs: Job, check: str = "off", where: Origin | None = None) -> bytes:
    """Of the last of them."""
    pictures = BeforePictures(Store(*jobs), Decoder())  # type: ignore[arg-type]
    return await pictures.of(jobs[-1], where or jobs[-1].origin, check, 0.5)


async def test_an_edit_shows_what_was_edited_as_large_as_the_result() -> None:
    assert await before(a_job(1, "edit_words")) == b"128," + GIVEN.encode()
    several = {"second_picture": "b" * 64, "fourth_picture": "d" * 64}
    found = await before(a_job(1, "imagine", request=several))
    assert found.count(b",") == 3


@pytest.mark.parametrize(
    "request_",
    [
        {"init_picture": None},
        {"denoising_strength": 0.6},
        {"mask": "c" * 64},
        {"init_picture": GONE},
    ],
)
async def test_what_is_no_edit_or_is_gone_shows_nothing(request_: dict[str, Any]) -> None:
    assert await before(a_job(1, "edit_words", request=request_)) == b""


async def test_pix2pix_edits_at_any_strength() -> None:
    request = {"denoising_strength": 0.6, "image_guidance_scale": 1.5}
    assert await before(a_job(1, "edit_words", request=request))


async def test_what_was_given_privately_is_shown_to_its_owner_alone() -> None:
    private = a_job(1, "edit_words", private=True)
    assert await before(private)
    # sent to a channel by its owner, and what others make of that, and of that again
    assert await before(private, where=an_origin()) == b""
    theirs = a_job(2, "reroll", 1)
    assert await before(private, theirs) == b""
    assert await before(private, theirs, a_job(3, "vary_subtle", 2)) == b""
    assert await before(theirs) == b""  # it has been deleted
    own = a_job(4, "reroll", 1, private=True)
    assert await before(private, own)
    public = a_job(5, "edit_words")
    assert await before(public, a_job(6, "reroll", 5), a_job(7, "edit", 6))
    # an edit of a picture that was sent shows that picture
    assert await before(private, a_job(8, "edit_words", 1))


@pytest.mark.parametrize(
    ("check", "unknown", "safe", "unsafe"),
    [
        ("off", True, True, True),
        ("blur", True, True, True),
        ("block", False, True, False),
        ("restricted", False, True, False),
        ("hold", False, True, False),
        ("hold_all", False, False, False),
    ],
)
async def test_a_picture_check_lets_be_seen_what_was_found_safe(
    check: str, unknown: bool, safe: bool, unsafe: bool
) -> None:
    def parent(score: float | None) -> Job:
        picture = PictureRecord(
            index=0,
            seed=1,
            width=64,
            height=64,
            file=GIVEN,
            pixels_sha256="0" * 64,
            unsafe=score,
        )
        return a_job(1, "imagine", pictures=(picture,))

    edit = a_job(2, "edit_words", 1)
    assert bool(await before(a_job(1, "edit_words"), check=check)) is unknown
    assert bool(await before(parent(0.1), edit, check=check)) is safe
    assert bool(await before(parent(0.9), edit, check=check)) is unsafe
    assert bool(await before(parent(None), edit, check=check)) is unknown
