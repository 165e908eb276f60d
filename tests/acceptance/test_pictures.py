"""What can be done with a finished picture: every action, by both doors, after a restart too."""

import asyncio

import pytest

from bot.requests.derived import STRONG, SUBTLE
from generation.job import Job
from generation.request_parts import Variation
from playground.control import Control
from playground.person import Person, fields_of
from playground.world import EPHEMERAL
from tests.acceptance.conftest import Json, Rig, buttons, finished, press
from tests.acceptance.test_actions import delivered, next_picture
from tests.acceptance.test_imagine import imagine
from tests.patience import PATIENCE


async def pressed(rig: Rig, person: Person, channel: str, message: Json, label: str) -> Job:
    """Press a button that makes a new job, and wait for its pictures."""
    act = await press(person, message, label)
    await finished(person, channel, await act.deferred())
    return await last_job(rig)


async def last_job(rig: Rig) -> Job:
    number = 1
    while await rig.studio.jobs.get(number + 1) is not None:
        number += 1
    return await rig.job(number)


async def test_buttons_and_reactions_are_those_that_apply(
    rig: Rig, ada: Person, general: str
) -> None:
    one = await imagine(ada, general)
    singles = ["Upscale", "Vary (subtle)", "Vary (strong)", "Zoom out ×1.5", "Zoom out ×2"]
    everywhere = ["Edit", "Parameters", "Favourite", "Delete"]
    grows = ["Left", "Right", "Up", "Down"]
    assert buttons(one) == ["Reroll", *singles, *everywhere, *grows, "More…"]
    more = await (await ada.click(one, "More…")).response()
    assert more["flags"] & EPHEMERAL
    add = "Add control picture…"
    rare = ["Hires", "Extend…", "Draw a part anew…", "Start from it", add, "Describe"]
    assert sorted(buttons(more)) == sorted(rare)
    four = await imagine(ada, general, count=4)
    assert [label for label in buttons(four) if label] == ["Reroll", add, *everywhere]
    emoji = [f["emoji"]["name"] for f in fields_of(four["components"]) if not f.get("label")]
    assert emoji == ["1️⃣", "2️⃣", "3️⃣", "4️⃣"]
    await ada.wait_for(
        "MESSAGE_REACTION_ADD",
        lambda e: e["message_id"] == four["id"] and e["emoji"]["name"] == "❌",
    )
    four = await ada.message(general, four["id"])
    assert [reaction["emoji"]["name"] for reaction in four["reactions"]] == [
        *("🔁", "1️⃣", "2️⃣", "3️⃣", "4️⃣", "📋", "⭐", "❌")
    ]


async def test_upscale_makes_the_picture_larger_without_drawing(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, width=128, height=192, seed=5)
    job, parent = await pressed(rig, ada, general, first, "Upscale"), await rig.job(1)
    made = job.request.enlargement
    assert made is not None
    assert (made.picture, made.upscaler) == (parent.pictures[0].file, "demo-x4")
    # the demo model draws pictures of 128 pixels, and would draw nine of its subject
    assert (made.denoising_strength, made.tile) == (0.0, 0)
    [picture] = job.pictures
    assert (picture.width, picture.height) == (made.width, made.height) == (512, 768)
    assert (job.parent, job.parent_picture, job.action) == (1, 0, "upscale")
    assert job.request.with_(enlargement=None) == parent.request


@pytest.mark.parametrize(
    ("label", "strength"), [("Vary (subtle)", SUBTLE), ("Vary (strong)", STRONG)]
)
async def test_variations_are_relatives(
    rig: Rig, ada: Person, general: str, label: str, strength: float
) -> None:
    first = await imagine(ada, general, seed=5)
    job = await pressed(rig, ada, general, first, label)
    assert job.request.seed == 5
    assert job.request.variation_strength == strength
    assert job.request.variation_seed is not None
    assert len(job.pictures) == 4
    assert job.parent_picture == 0


async def test_a_variation_of_a_variation_is_a_relative_of_that_one(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=5)
    act = await ada.click(await ada.message(general, first["id"]), "Vary (strong)")
    four = await finished(ada, general, await act.deferred())
    parent = await rig.job(2)
    act = await ada.click(await ada.message(general, four["id"]), "darkroom:pick:2:1")
    picked = await finished(ada, general, await act.deferred())
    child = await pressed(rig, ada, general, picked, "Vary (subtle)")
    second = parent.pictures[1].variation_seed
    assert second is not None
    assert child.request.lineage == (Variation(second, STRONG),)
    act = await ada.click(await ada.message(general, four["id"]), f"darkroom:reroll:{parent.id}")
    again = await finished(ada, general, await act.deferred())
    others = await last_job(rig)
    assert len(again["attachments"]) == 4
    assert (others.request.seed, others.request.lineage) == (5, ())
    assert others.request.variation_seed != parent.request.variation_seed


@pytest.mark.parametrize("door", ["button", "reaction"])
async def test_one_of_four_is_picked_and_upscaled(
    rig: Rig, ada: Person, bo: Person, general: str, door: str
) -> None:
    four = await imagine(ada, general, count=4, seed=10)
    await delivered(rig, 1)
    await rig.restart()
    if door == "button":
        act = await bo.click(await bo.message(general, four["id"]), "darkroom:pick:1:2")
        picked = await finished(bo, general, await act.deferred())
    else:
        await bo.react(four, "3️⃣")
        picked = await next_picture(bo, general, four)
    assert len(picked["attachments"]) == 1
    assert "picture 3" in picked["embeds"][0]["footer"]["text"]
    await bo.wait_for(
        "MESSAGE_REACTION_ADD",
        lambda e: e["message_id"] == picked["id"] and e["emoji"]["name"] == "🔍",
    )
    await rig.restart()
    if door == "button":
        job = await pressed(rig, bo, general, picked, "Upscale")
    else:
        await bo.react(picked, "🔍")
        await next_picture(bo, general, picked)
        job = await last_job(rig)
    parent = await rig.job(1)
    assert job.parent_picture == 2
    assert job.request.seed == 12
    assert job.request.enlargement is not None
    assert job.request.enlargement.picture == parent.pictures[2].file


async def test_edit_is_filled_in_and_sends_a_new_request(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=5, steps=3, negative_prompt="fog")
    await delivered(rig, 1)
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    modal = await act.modal()
    filled = {
        field["custom_id"]: field.get("value", "") for field in fields_of(modal["components"])
    }
    assert filled["prompt"] == "a lighthouse"
    assert filled["negative_prompt"] == "fog"
    assert "steps: 3" in filled["parameters"].splitlines()
    assert "seed: 5" in filled["parameters"].splitlines()
    changed = filled["parameters"].replace("steps: 3", "steps: 7").replace("seed: 5", "Seed: 6")
    sent = await act.submit(prompt="a castle", negative_prompt="", parameters=changed)
    await finished(ada, general, await sent.deferred())
    job, parent = await rig.job(2), await rig.job(1)
    expected = {"prompt": "a castle", "negative_prompt": "", "steps": 7, "seed": 6}
    assert job.request == parent.request.with_(**expected)
    assert (job.parent, job.action) == (1, "edit")


async def test_flags_in_a_dialog_win_over_its_lines(rig: Rig, ada: Person, general: str) -> None:
    await imagine(ada, general, seed=5, steps=3)
    first = (await ada.messages(general))[-1]
    act = await ada.click(first, "Edit")
    sent = await act.submit(prompt="a castle --steps 6 --no fog", parameters="steps: 3\nseed: 5")
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(2)).request
    assert (request.prompt, request.steps, request.seed) == ("a castle", 6, 5)
    assert request.negative_prompt == "fog"


async def test_a_dialog_from_before_a_restart_can_be_handed_in(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    await act.modal()
    await rig.restart()
    sent = await act.submit(prompt="a castle", parameters="steps: 2")
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(2)).request.prompt == "a castle"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("steps 20", "“steps 20” is no parameter"),
        ("stepps: 20", "Did you mean steps"),
        ("steps: many", "steps must be a number"),
        ("steps: 1000", "steps is 1000; it must be from 1 to 150"),
        ("width: 2049", "width is 2049; it must be from 64 to 2048"),
        ("sampler: Eulr a", "Nearest: Euler a"),
        ("lora: nothing:0.5", "There is no LoRA “nothing”"),
        ("controlnet: canny", "A ControlNet is added here only beside another"),
    ],
)
async def test_wrong_lines_of_a_dialog(
    rig: Rig, ada: Person, general: str, lines: str, said: str
) -> None:
    first = await imagine(ada, general)
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    sent = await act.submit(prompt="a castle", parameters=lines)
    answer = await sent.response()
    assert said in answer["content"]
    assert answer["flags"] & 64
    assert await rig.studio.jobs.get(2) is None


async def test_a_picture_starts_another(rig: Rig, ada: Person, general: str) -> None:
    first = await imagine(ada, general)
    act = await press(ada, first, "Start from it")
    modal = await act.modal()
    [lines] = [f["value"] for f in fields_of(modal["components"]) if f["custom_id"] == "parameters"]
    assert "denoising: 0.6" in lines
    sent = await act.submit(prompt="a castle", parameters=lines.replace("0.6", "0.4"))
    await finished(ada, general, await sent.deferred())
    job, parent = await rig.job(2), await rig.job(1)
    assert job.request.init_picture == parent.pictures[0].file
    assert job.request.denoising_strength == 0.4


@pytest.mark.parametrize("door", ["button", "reaction"])
async def test_parameters_are_the_infotext_and_the_file(
    rig: Rig, ada: Person, bo: Person, general: str, door: str
) -> None:
    first = await imagine(ada, general, seed=5)
    await delivered(rig, 1)
    if door == "button":
        act = await bo.click(await bo.message(general, first["id"]), "Parameters")
        answer = await act.response()
        assert answer["flags"] & 64
    else:
        dm = await bo.channel("dm")
        await bo.react(first, "📋")
        answer = await bo.wait_for(
            "MESSAGE_CREATE", lambda m: m["channel_id"] == dm and m["attachments"]
        )
    assert "a lighthouse" in answer["content"]
    assert "Seed: 5" in answer["content"]
    _, content = await rig.control.get(answer["attachments"][0]["url"])
    assert content == await rig.studio.jobs.read_picture((await rig.job(1)).pictures[0])
    assert b"parameters\0" in content


async def until_favourite(rig: Rig, user: int, wanted: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while await rig.studio.store.history.is_favourite(user, 1, 0) is not wanted:
            await asyncio.sleep(0.02)


async def test_favourites_by_both_doors(rig: Rig, ada: Person, bo: Person, general: str) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    user = int((await bo.state())["me"]["id"])
    history = rig.studio.store.history
    act = await bo.click(await bo.message(general, first["id"]), "Favourite")
    assert "Kept among" in (await act.response())["content"]
    assert await history.is_favourite(user, 1, 0)
    act = await bo.click(await bo.message(general, first["id"]), "Favourite")
    assert "No longer" in (await act.response())["content"]
    assert not await history.is_favourite(user, 1, 0)
    await bo.react(first, "⭐")
    await until_favourite(rig, user, True)
    await bo.unreact(first, "⭐")
    await until_favourite(rig, user, False)


async def test_who_may_press_is_the_servers_choice(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str
) -> None:
    first = await imagine(ada, general)
    await delivered(rig, 1)
    job = await rig.job(1)
    assert job.origin.guild_id is not None
    await rig.studio.store.settings.change_guild(job.origin.guild_id, press="owner")
    act = await bo.click(await bo.message(general, first["id"]), "Reroll")
    assert "only the person who asked" in (await act.response())["content"]
    dm = await bo.channel("dm")
    for _ in range(2):
        await bo.react(first, "🔁")
        await bo.unreact(first, "🔁")
    await bo.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == dm)
    await ada.react(first, "🔁")
    await next_picture(ada, general, first)
    told = [m for m in await bo.messages(dm) if "only the person" in m["content"]]
    assert len(told) == 1
    assert await rig.studio.jobs.get(3) is None


async def test_context_menus(rig: Rig, ada: Person, general: str) -> None:
    first = await imagine(ada, general, seed=5)
    await delivered(rig, 1)
    message = await ada.message(general, first["id"])
    for menu, action in (("Reroll", "reroll"), ("Upscale", "upscale"), ("Vary", "vary_subtle")):
        act = await ada.use_on_message(menu, message)
        await finished(ada, general, await act.deferred())
        assert (await last_job(rig)).action == action
    act = await ada.use_on_message("Parameters", message)
    assert "Seed: 5" in (await act.response())["content"]
    chat = await ada.say(general, "hello")
    act = await ada.use_on_message("Reroll", chat)
    assert "no picture that this bot drew" in (await act.response())["content"]


async def test_a_menu_asks_which_of_several_pictures(rig: Rig, ada: Person, general: str) -> None:
    four = await imagine(ada, general, count=4, seed=5)
    await delivered(rig, 1)
    act = await ada.use_on_message("Upscale", await ada.message(general, four["id"]))
    asked = await act.response()
    act = await ada.click(asked, "darkroom:upscale:1:3")
    await finished(ada, general, await act.deferred())
    assert (await rig.job(2)).request.seed == 8
