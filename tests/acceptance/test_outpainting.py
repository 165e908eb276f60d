"""A finished picture grows, as members say to which sides and how far."""

import pytest

from playground.person import Person, fields_of
from tests.acceptance.conftest import Json, Rig, finished, offered, press, with_limits
from tests.acceptance.test_actions import delivered, next_picture
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import last_job, pressed


async def latest(person: Person, channel: str) -> Json:
    """The newest message of the channel."""
    newest = max(await person.messages(channel), key=lambda message: int(message["id"]))
    return await person.message(channel, newest["id"])


@pytest.mark.parametrize(
    ("label", "sides"),
    [
        ("Left", {"left": 64}),
        ("Right", {"right": 64}),
        ("Up", {"top": 64}),
        ("Down", {"bottom": 64}),
    ],
)
async def test_a_picture_grows_to_a_side(
    rig: Rig, ada: Person, general: str, label: str, sides: dict[str, int]
) -> None:
    message = await imagine(ada, general, width=128, height=128, count=1)
    job = await pressed(rig, ada, general, message, label)
    made = job.request.extension
    assert made is not None
    assert {side: getattr(made, side) for side in made.SIDES if getattr(made, side)} == sides
    first = await rig.job(1)
    assert job.request.init_picture == first.pictures[0].file
    assert job.request.seed != first.request.seed
    assert (job.parent, job.parent_picture) == (1, 0)
    shown = await latest(ada, general)
    fields = {field["name"]: field["value"] for field in shown["embeds"][0]["fields"]}
    arrow = {"left": "⬅️", "right": "➡️", "top": "⬆️", "bottom": "⬇️"}[next(iter(sides))]
    assert fields["Extended by (px)"] == f"{arrow} 64"


async def test_zooming_out_by_a_button_and_by_a_reaction(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=128, height=128, count=1)
    job = await pressed(rig, ada, general, message, "Zoom out ×1.5")
    assert job.request.size == (128, 128)
    assert job.request.extension is not None
    assert job.request.extension.width == 85
    await ada.react(message, "🌍")
    await next_picture(ada, general, await latest(ada, general))
    more = (await last_job(rig)).request
    assert more.extension is not None
    assert more.extension.width == 64
    again = await pressed(rig, ada, general, await latest(ada, general), "Reroll")
    assert again.request.extension == more.extension
    assert again.request.seed != more.seed


async def test_sides_share_and_prompt_are_chosen_in_a_dialog(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=128, height=128, count=1)
    act = await press(ada, message, "Extend…")
    modal = await act.modal()
    fields = {field["custom_id"]: field for field in fields_of(modal["components"])}
    assert fields["prompt"]["value"] == (await rig.job(1)).request.prompt
    again = await act.submit(
        sides=["left", "right"],
        share=["half"],
        prompt="a lighthouse by the sea --seed 9",
        negative_prompt="fog",
    )
    await finished(ada, general, await again.deferred())
    job = await last_job(rig)
    made = job.request.extension
    assert made is not None
    assert (made.left, made.right, made.top, made.bottom) == (64, 64, 0, 0)
    assert (job.request.prompt, job.request.negative_prompt) == ("a lighthouse by the sea", "fog")
    assert job.request.seed == 9


async def test_without_a_side_nothing_grows(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, width=128, height=128, count=1)
    act = await press(ada, message, "Extend…")
    again = await act.submit(sides=[], share=["half"], prompt="a fox", negative_prompt="")
    assert "Choose at least one side" in (await again.response())["content"]
    assert await rig.studio.jobs.get(2) is None


async def test_a_canvas_over_the_limits_is_refused_in_a_sentence(
    rig: Rig, ada: Person, general: str
) -> None:
    """And not offered; a reaction asks for it all the same."""
    rig.config = with_limits(rig.config, upscaled_side=150)
    await rig.restart()
    first = await imagine(ada, general, width=128, height=128, count=1)
    await delivered(rig, 1)
    found = await offered(ada, await ada.message(general, first["id"]))
    assert not {"Left", "Right", "Up", "Down", "Extend…"} & set(found)
    assert "Zoom out ×2" in found
    dm = await ada.channel("dm")
    await ada.react(first, "⬅️")
    told = await ada.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == dm)
    assert "no side may be longer than 150 pixels" in told["content"]
    assert await rig.studio.jobs.get(2) is None
