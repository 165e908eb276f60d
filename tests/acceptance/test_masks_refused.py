"""Masks that are none, at every door: one sentence each, before anything waits."""

from collections.abc import Awaitable, Callable

import pytest

from playground.person import Person
from tests.acceptance.conftest import Json, Rig, png, press
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_inpainting import erased, mask, picture
from tests.acceptance.test_redraw import CHOSEN
from tests.acceptance.test_redraw_menu import MENU, moving
from tests.acceptance.test_retry import RETRY, answer_to, refused

MASKS = {
    "black.png": (mask("black"), "black.png is no mask: nothing in it is white"),
    "wide.png": (picture((128, 32), (0, 0, 64, 32)), "quite another shape than its picture"),
    "pixel.png": (picture((1, 1), (0, 0, 1, 1)), "pixel.png has only 1 × 1 pixels"),
    "line.png": (picture((64, 64), (30, 0, 31, 64)), "The mask is too fine"),
    "party.gif": (moving(), "party.gif moves"),
    "text.png": (b"no picture", "text.png"),
}
Door = Callable[[str], Awaitable[Json]]
"""Hands in a mask, by its upload; returns what is said."""


async def imagine_door(rig: Rig, ada: Person, general: str) -> Door:
    async def hand_in(upload: str) -> Json:
        start = await ada.upload("red.png", png("red", (64, 64)))
        return await refused(ada, general, prompt="a hat", init_picture=start, mask=upload)

    return hand_in


async def button_door(rig: Rig, ada: Person, general: str) -> Door:
    message = await imagine(ada, general, width=64, height=64, count=1)

    async def hand_in(upload: str) -> Json:
        act = await press(ada, message, "Draw a part anew…")
        how = {**CHOSEN, "how": ["original/whole picture"]}
        return await answer_to(await act.submit(prompt="a hat", mask=[upload], **how))

    return hand_in


async def menu_door(rig: Rig, ada: Person, general: str) -> Door:
    posted = await ada.say_with_file(general, "cat.png", png("red", (64, 64)))

    async def hand_in(upload: str) -> Json:
        act = await ada.use_on_message(MENU, posted)
        how = {**CHOSEN, "how": ["original/whole picture"]}
        return await answer_to(await act.submit(prompt="a hat", mask=[upload], **how))

    return hand_in


@pytest.mark.parametrize("door", [imagine_door, button_door, menu_door])
async def test_it_is_said_and_what_was_typed_is_kept(
    rig: Rig, ada: Person, general: str, door: Callable[[Rig, Person, str], Awaitable[Door]]
) -> None:
    hand_in = await door(rig, ada, general)
    before = len(await rig.studio.jobs.waiting())
    first = 1 + (await rig.studio.jobs.get(1) is not None)
    for name, (content, said) in MASKS.items():
        told = await hand_in(await ada.upload(name, content))
        assert said in told["content"], name
        assert told["flags"] & 64
        assert any(
            button.get("label") == RETRY
            for row in told["components"]
            for button in row["components"]
        ), name
    assert await rig.studio.jobs.get(first) is None
    assert len(await rig.studio.jobs.waiting()) == before


async def test_what_is_erased_is_looked_at_likewise(rig: Rig, ada: Person, general: str) -> None:
    """A pixel of a hole, a picture of a pixel, an animation with holes."""
    for name, content, said in (
        ("party.gif", moving(), "party.gif moves"),
        ("pixel.png", picture((1, 1)), "only 1 × 1 pixels"),
    ):
        upload = await ada.upload(name, content)
        told = await refused(ada, general, prompt="a hat", init_picture=upload)
        assert said in told["content"], name
    upload = await ada.upload("hole.png", erased())
    told = await refused(ada, general, prompt="a hat --mask-blur 64", init_picture=upload)
    assert "The mask is too fine" in told["content"]
    assert await rig.studio.jobs.get(1) is None
