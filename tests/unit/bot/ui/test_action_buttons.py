"""Buttons keep to Discord's bounds for every kind of job, and what is offered can be pressed."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import discord
import msgspec
import pytest

from bot.features.history.pages import entry_view
from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget, applying, offered
from bot.ui import action_buttons
from bot.ui.action_buttons import ActionButton, MoreButton
from generation.description import Description
from generation.job import Job, JobState, PictureRecord, Provenance
from tests.fixtures.requests import a_request, an_origin

TEXTS: Final = Texts("en-US")
COUNTS: Final = range(11)
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
PICTURE: Final = "0" * 64
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "draft": {"mode": "draft"},
    "hires": {"hires": "2", "hires_upscaler": "Latent", "hires_denoising": 0.5},
    "from a picture": {"init_picture": PICTURE, "denoising_strength": 0.5},
    "varied": {"variation_seed": 1, "variation_strength": 0.2},
    "controlled": {"controls": [{"name": "n", "picture": PICTURE}] * 3},
    "mended": {"faces": "all", "cutout": "birefnet"},
    "enlarged": {
        "enlargement": {
            "picture": PICTURE,
            "upscaler": "x",
            "width": 64,
            "height": 64,
            "from_width": 32,
            "from_height": 32,
        }
    },
    "described": {"describing": {"picture": PICTURE, "width": 64, "height": 64, "tagger": "t"}},
}


def jobs() -> Iterator[Job]:
    """Every kind of job: in each state, of each kind of request, with no picture to ten."""
    for state, (kind, told), count in itertools.product(JobState, REQUESTS.items(), COUNTS):
        if count and state is not JobState.FINISHED:
            continue
        request = a_request(**told)
        record = PictureRecord(
            index=0, seed=1, width=64, height=64, file=PICTURE, pixels_sha256=PICTURE
        )
        replace = msgspec.structs.replace
        pictures = tuple(replace(record, index=index) for index in range(count))
        provenance = Provenance(
            seconds=1,
            seconds_loading=0,
            batch_size=1,
            memory_peak=0,
            hashes={},
            versions={},
            controls=(record,) * 3 if kind == "controlled" else (),
        )
        yield Job(
            id=10**17,
            state=state,
            request=request,
            origin=an_origin(1),
            created_at=NOW,
            pictures=pictures if state is JobState.FINISHED else (),
            provenance=provenance,
            description=Description(caption="a fox") if kind == "described" else None,
        )


def names(view: discord.ui.View) -> list[str]:
    return [item.action_name for item in view.children if isinstance(item, ActionButton)]


def holds(view: discord.ui.View) -> None:
    """Discord takes 25 buttons, five in a row, each custom_id once."""
    assert len(view.children) <= 25
    rows = view.to_components()
    assert len(rows) <= 5
    assert all(len(row["components"]) <= 5 for row in rows)
    ids = [item["custom_id"] for row in rows for item in row["components"]]
    assert len(set(ids)) == len(ids)
    assert all(len(one) <= 100 for one in ids)


def shown(job: Job, index: int | None) -> tuple[discord.ui.View, discord.ui.View]:
    """The buttons of a message, and those behind More…"""
    view = action_buttons.view(job, TEXTS, lambda _target, _job: True, index)
    rest = action_buttons.rare_view(job, TEXTS, lambda _target, _job: True, index)
    more = any(isinstance(item, MoreButton) for item in view.children)
    return view, rest if more else discord.ui.View()


@pytest.mark.parametrize("place", ["message", "picture", "history"])
async def test_all_that_is_offered_on_any_job_has_a_button(place: str) -> None:
    seen: set[str] = set()
    for job in jobs():
        index = job.pictures[-1].index if place == "picture" and job.pictures else None
        if place == "history" and not job.ended:
            continue
        view, rest = shown(job, index)
        if place == "history":
            view = entry_view(job, TEXTS, lambda _target, _job: True)
        holds(view)
        holds(rest)
        wanted = [target.action.name for target in applying(job, index)]
        if place == "history":
            wanted = [name for name in wanted if name != "delete"]
        there = {*names(view), *names(rest)}
        if len(job.pictures) < 10 or place != "history":
            assert there >= {*wanted}, (job.state, job.request, len(job.pictures))
        seen |= there
    if place == "picture":
        assert seen >= {
            *(action.name for action in ACTIONS.values() if action.on in ("picture", "controlled")),
        }


def test_what_people_press_stands_in_front() -> None:
    job = next(job for job in jobs() if job.state is JobState.FINISHED and len(job.pictures) == 1)
    view, rest = shown(job, None)
    assert names(view) == [
        *("reroll", "upscale", "hd", "vary_subtle", "vary_strong", "zoom_out", "zoom_out_more"),
        *("edit", "edit_words", "parameters", "favourite", "delete"),
        *("pan_left", "pan_right", "pan_up", "pan_down"),
    ]
    assert len(view.children) == 17
    assert not {*names(view)} & {*names(rest)}
    assert {*names(view), *names(rest)} == {
        target.action.name for target in offered(job, None, lambda _target, _job: True)
    }


def test_with_fewer_rows_there_are_fewer_buttons() -> None:
    for job, rows in itertools.product(jobs(), (1, 2, 3)):
        view = action_buttons.view(job, TEXTS, lambda _target, _job: True, rows=rows)
        assert len(view.children) <= 5 * rows
        holds(view)


def test_one_alone_is_not_hidden() -> None:
    job = next(job for job in jobs() if job.state is JobState.FINISHED and len(job.pictures) == 4)

    def accepts(target: ActionTarget, _job: Job) -> bool:
        return target.action.name in ("reroll", "add_control")

    view = action_buttons.view(job, TEXTS, accepts)
    assert names(view) == ["reroll", "add_control"]
    assert len(view.children) == 2
