"""Pictures that came with a refused request are kept with it, whatever it was refused for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bot.config import DirectMessagesSettings
from bot.interactions import keeping, picture_dialogs
from bot.pictures.turns import KEPT_OF_ONE_PERSON, OF_ONE_PERSON
from generation import completion
from generation.preset import Preset
from generation.refusal import Refused
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png, with_limits
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_permissions import ATTACH
from tests.acceptance.test_retry import RETRY, answer_to, refused, shown
from tests.patience import PATIENCE

Refusal = Callable[[Rig, Person, str], AbstractAsyncContextManager[dict[str, Any]]]
"""Makes that a request is refused, until it ends; yields the options that it takes beside."""


def on_server(**values: Any) -> Refusal:
    """By a setting of the server."""

    @asynccontextmanager
    async def refusal(rig: Rig, person: Person, _channel: str) -> AsyncIterator[dict[str, Any]]:
        guild = int((await person.state())["guilds"][0]["id"])
        before = await rig.studio.store.settings.guild(guild)
        await rig.studio.store.settings.change_guild(guild, **values)
        yield {}
        was = {name: getattr(before, name) for name in values}
        await rig.studio.store.settings.change_guild(guild, **was)

    return refusal


def by_options(**given: Any) -> Refusal:
    """By what is asked for."""

    @asynccontextmanager
    async def refusal(_rig: Rig, _person: Person, _channel: str) -> AsyncIterator[dict[str, Any]]:
        yield given

    return refusal


@asynccontextmanager
async def too_many_wait(rig: Rig, person: Person, channel: str) -> AsyncIterator[dict[str, Any]]:
    rig.engine.gate = asyncio.Event()
    for _ in range(3):
        await (await person.command(channel, "imagine", prompt="a fox")).deferred()
    yield {}
    rig.engine.gate.set()
    for number in (1, 2, 3):
        await rig.until(lambda job: job.delivered_at is not None, number)


@asynccontextmanager
async def quota_used(rig: Rig, person: Person, channel: str) -> AsyncIterator[dict[str, Any]]:
    await imagine(person, channel)
    async with on_server(quota=1)(rig, person, channel) as options:
        yield options


@asynccontextmanager
async def no_permission(rig: Rig, person: Person, channel: str) -> AsyncIterator[dict[str, Any]]:
    bot = str((await person.state())["application"]["bot"]["id"])
    await rig.control.overwrite(channel, bot, deny=ATTACH)
    yield {}
    await rig.control.overwrite(channel, bot, allow=ATTACH)


@asynccontextmanager
async def over_a_limit(rig: Rig, _person: Person, _channel: str) -> AsyncIterator[dict[str, Any]]:
    before = rig.config
    rig.config = with_limits(before, steps=2)
    await rig.restart()
    yield {"steps": 2, "prompt": "a fox --steps 9"}
    rig.config = before
    await rig.restart()


@asynccontextmanager
async def preset_of_others(
    rig: Rig, person: Person, _channel: str
) -> AsyncIterator[dict[str, Any]]:
    guild = int((await person.state())["guilds"][0]["id"])
    presets = rig.studio.store.presets
    await presets.write(guild, Preset(name="patrons", roles=(7,)))
    yield {"preset": "patrons"}
    await presets.write(guild, Preset(name="patrons"), was="patrons")


@asynccontextmanager
async def our_own_fault(rig: Rig, _person: Person, _channel: str) -> AsyncIterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:

        async def broken(*_args: object, **_options: object) -> None:
            raise RuntimeError("disk full")

        requests = rig.client.services.requests
        patch.setattr(requests.shares, "check_asking", broken)
        patch.setattr(requests, "ask", broken)
        yield {}


@asynccontextmanager
async def models_being_read(
    rig: Rig, _person: Person, _channel: str
) -> AsyncIterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:

        def reading(*_args: object, **_options: object) -> None:
            raise Refused("models_being_read", found=3)

        patch.setattr(completion, "complete", reading)
        patch.setattr("generation.preset.complete", reading)
        yield {}


KINDS: dict[str, tuple[Refusal, str]] = {
    "too many waiting": (too_many_wait, "waiting already"),
    "quota": (quota_used, "You can ask again"),
    "quota of fewer": (on_server(quota=1), "may have 1 a day"),
    "wrong channel": (on_server(channels=(1,)), "Ask for pictures in"),
    "age": (on_server(age_restricted=True), "age-restricted"),
    "blocklist": (on_server(blocklist=("lighthouse",)), "does not want"),
    "permissions": (no_permission, "attach files"),
    "limit": (over_a_limit, "steps"),
    "model": (by_options(model="nope"), "no model"),
    "flag": (by_options(prompt="a lighthouse --nonsense 3"), "no flag"),
    "preset": (by_options(preset="nothing"), "no preset"),
    "roles": (preset_of_others, "for those with the role"),
    "no prompt": (by_options(prompt=" "), "prompt is empty"),
    "text": (by_options(prompt="a light\0house"), "half a character"),
    "models": (models_being_read, "read for the first time"),
    "incident": (our_own_fault, "went wrong"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_of_every_kind(rig: Rig, ada: Person, general: str, kind: str) -> None:
    make, said = KINDS[kind]
    upload, control = await ada.upload("start.png", png()), await ada.upload("c.png", png("blue"))
    given: dict[str, Any] = {"init_picture": upload, "control_picture": control}
    given["prompt"] = "a lighthouse"
    if kind == "quota of fewer":
        given["count"] = 2
    async with make(rig, ada, general) as options:
        message = await refused(ada, general, **{**given, **options})
        assert said in message["content"]
        # also when it is handed in again too soon
        values = await shown(act := await ada.click(message, RETRY))
        if kind == "text":
            values["prompt"] = given["prompt"] = "a light\0house"
        again = await answer_to(await act.submit(**values))
        values = await shown(await ada.click(again, RETRY))
    for name in ("init_picture", "control_picture"):
        assert f"{name}: kept" in values["parameters"].split("\n")
    act = await ada.click(again, RETRY)
    await act.modal()
    sent = await act.submit(
        prompt="a lighthouse",
        negative_prompt="",
        parameters="init_picture: kept\ncontrol_picture: kept\ncontrolnet: demo-edges",
    )
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(await rig.studio.jobs.newest_id())).request
    assert request.init_picture is not None
    for picture in (request.init_picture, request.controls[0].picture):
        assert await rig.studio.jobs.read_upload(picture)


async def test_where_pictures_may_not_be_asked_for_at_all(
    rig: Rig, bo: Person, general: str
) -> None:
    settings = DirectMessagesSettings(enabled=False)
    rig.config = msgspec.structs.replace(rig.config, direct_messages=settings)
    await rig.restart()
    direct = await bo.channel("dm")
    upload = await bo.upload("start.png", png())
    message = await refused(bo, direct, prompt="a fox", init_picture=upload)
    assert "only be asked for on a server" in message["content"]
    assert "init_picture: kept" in (await shown(await bo.click(message, RETRY)))["parameters"]


async def test_of_too_many_at_once_those_are_kept_too(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, gate = rig.studio.decoder, asyncio.Event()
    upload, person = await ada.upload("start.png", png()), int((await ada.state())["me"]["id"])

    async def hold() -> None:
        async with decoder.turn(person, KEPT_OF_ONE_PERSON):
            await gate.wait()

    async def waiting(count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while decoder._turns._waiting[person] != count:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(OF_ONE_PERSON):
            group.create_task(hold())
        await waiting(OF_ONE_PERSON)
        act = await ada.command(general, "imagine", prompt="a fox", init_picture=upload)
        await waiting(OF_ONE_PERSON + 1)
        gate.set()
    message = await answer_to(act)
    assert "being read already" in message["content"]
    assert "init_picture: kept" in (await shown(await ada.click(message, RETRY)))["parameters"]
    # beyond what may wait for that, it is said that the picture is not kept
    gate.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(KEPT_OF_ONE_PERSON):
            group.create_task(hold())
        await waiting(KEPT_OF_ONE_PERSON)
        message = await refused(ada, general, prompt="a fox", init_picture=upload)
        gate.set()
    assert "is not kept with the rest" in message["content"]
    values = await shown(await ada.click(message, RETRY))
    assert (values["prompt"], values["parameters"]) == ("a fox", "")


async def test_a_side_handed_in_again_is_the_nearest_that_can_be_drawn(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await refused(ada, general, prompt="a fox --steps 9999")
    act = await ada.click(message, RETRY)
    await act.modal()
    sent = await act.submit(prompt="a fox", parameters="width: 100\nheight: 64\nsteps: 1")
    await finished(ada, general, await sent.deferred())
    job = await rig.studio.store.jobs.get(1)
    assert job is not None
    assert (job.request.width, job.request.height) == (96, 64)


async def test_of_one_person_few_a_day_are_kept(
    rig: Rig, ada: Person, bo: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "KEPT_A_DAY", 1)

    async def left(person: Person) -> bool:
        upload = await person.upload("start.png", png())
        message = await refused(person, general, prompt="a fox", init_picture=upload)
        return "is not kept" in message["content"]

    async with no_permission(rig, ada, general):
        assert [await left(ada), await left(ada), await left(bo)] == [False, True, False]


async def test_what_is_refused_whatever_the_picture_shows_keeps_few_of_them(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "KEPT_A_DAY", 1)
    left = []
    for _ in range(2):
        upload = await ada.upload("start.png", png())
        given = {"prompt": "a fox", "init_picture": upload, "model": "nobody"}
        message = await refused(ada, general, **given)
        left.append("is not kept" in message["content"])
    assert left == [False, True]


async def test_a_refused_control_picture_stays_as_long_as_its_draft(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    posted = await ada.say_with_file(general, "sketch.png", png())
    act = await ada.use_on_message("Use as control picture", posted)
    await act.modal()
    chosen = {"preprocessor": ["auto"], "control_mode": ["balanced"]}
    entered = {"prompt": "a castle", "controlnet": ["demo-edges"], **chosen}
    message = await answer_to(await act.submit(**entered, control_scale="9"))
    # as the next day's sweep finds it
    assert await rig.studio.store.personal.sweep(timedelta(seconds=-1)) == 0
    act = await ada.click(message, RETRY)
    await act.modal()
    sent = await act.submit(**entered, control_scale="1")
    await finished(ada, general, await sent.deferred())
