"""*Edit and try again*: nothing that was typed is lost, whatever became of it."""

import asyncio
from typing import Any

import msgspec
import pytest

from generation.preset import Preset
from playground.person import Act, Person, fields_of
from tests.acceptance.conftest import Json, Rig, buttons, finished, png, press, with_limits
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_servers import preset_of

RETRY = "Edit and try again"


async def answer_to(act: Act) -> Json:
    """The refusal that only the person sees."""
    person = act.person

    def ours(message: Json) -> bool:
        return bool(message["flags"] & 64) and message["content"] != ""

    names = ("MESSAGE_CREATE", "MESSAGE_UPDATE")  # what was deferred privately is edited
    answers = [asyncio.create_task(person.wait_for(n, ours, since=act._since)) for n in names]
    done, waiting = await asyncio.wait(answers, return_when="FIRST_COMPLETED")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return done.pop().result()


async def refused(person: Person, channel: str, **options: Any) -> Json:
    return await answer_to(await person.command(channel, "imagine", **options))


async def shown(act: Act) -> dict[str, Any]:
    """What the fields of the modal hold."""
    fields = fields_of((await act.modal())["components"])
    return {field["custom_id"]: field.get("value", "") for field in fields}


async def test_all_that_was_typed_is_filled_in(rig: Rig, ada: Person, general: str) -> None:
    """After a restart too; handed in, mended, it is drawn."""
    picture = await ada.upload("start.png", png())
    message = await refused(
        ada,
        general,
        prompt="a lighthouse --no fog",
        negative_prompt='text: big, "red"',
        model="dmeo",
        preset="demo",
        steps=7,
        width=64,
        height=128,
        guidance=3.25,
        seed=-1,
        sampler="Euler",
        private=True,
        lora="ink",
        lora_weight=0.8,
        init_picture=picture,
        denoising=0.3,
    )
    await rig.restart()
    act = await ada.click(message, RETRY)
    values = await shown(act)
    assert values["prompt"] == "a lighthouse --no fog"
    assert values["negative_prompt"] == 'text: big, "red"'
    assert set(values["parameters"].split("\n")) == {
        "model: dmeo",
        "preset: demo",
        "steps: 7",
        "width: 64",
        "height: 128",
        "guidance: 3.25",
        "seed: -1",
        "sampler: Euler",
        "private: yes",
        "lora: ink",
        "lora_weight: 0.8",
        "denoising: 0.3",
        "init_picture: kept",
    }
    lines = [
        line
        for line in values["parameters"].replace("dmeo", "demo").split("\n")
        if not line.startswith("lora")
    ]
    entered = {"prompt": "a lighthouse", "negative_prompt": "fog"}
    again = await act.submit(**entered, parameters="\n".join(lines))
    drawn = await finished(ada, general, await again.deferred())
    assert drawn["flags"] & 64
    job = await rig.job(1)
    request = job.request
    assert (request.prompt, request.negative_prompt) == ("a lighthouse", "fog")
    assert (request.width, request.height, request.steps) == (64, 128, 7)
    assert (request.guidance_scale, request.sampler, preset_of(job)) == (
        3.25,
        "Euler",
        "demo",
    )
    assert request.denoising_strength == 0.3
    assert request.init_picture is not None
    assert (await rig.studio.jobs.read_upload(request.init_picture)).startswith(b"\x89PNG")


async def test_what_is_refused_again_is_kept_again(rig: Rig, ada: Person, general: str) -> None:
    picture = await ada.upload("start.png", png())
    message = await refused(ada, general, prompt="a fox", model="nope", init_picture=picture)
    for parameters, said in (
        ("stepps: 4\ninit_picture: kept", "stepps"),
        ("steps: 4\nsteps: 5\ninit_picture: kept", "steps"),
        ("steps: 400\ninit_picture: kept", "from 1 to"),
        ("init_picture: another", "kept"),
        ("private: perhaps", "--private"),
        ("preset: nothing\ninit_picture: kept", "There is no preset"),
    ):
        act = await ada.click(message, RETRY)
        sent = await act.submit(prompt="a fox, red", negative_prompt="", parameters=parameters)
        message = await answer_to(sent)
        assert said in message["content"], parameters
        values = await shown(await ada.click(message, RETRY))
        assert values["prompt"] == "a fox, red"
        assert values["parameters"] == parameters
    act = await ada.click(message, RETRY)
    sent = await act.submit(prompt="a fox", negative_prompt="", parameters="init_picture: kept")
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(1)).request.init_picture is not None


async def test_a_line_that_is_gone_leaves_its_picture_out(
    rig: Rig, ada: Person, general: str
) -> None:
    picture = await ada.upload("start.png", png())
    message = await refused(ada, general, prompt="a fox", model="nope", init_picture=picture)
    act = await ada.click(message, RETRY)
    sent = await act.submit(prompt="a fox", negative_prompt="", parameters="")
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(1)).request.init_picture is None


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "   ", "seed": 9},
        {"prompt": "a fox --nonsense 3", "seed": 9},
        {"prompt": "a \0fox", "seed": 9},
    ],
)
async def test_however_early_it_was_refused(
    rig: Rig, ada: Person, general: str, options: dict[str, Any]
) -> None:
    message = await refused(ada, general, **options)
    values = await shown(await ada.click(message, RETRY))
    assert values["prompt"].strip() == options["prompt"].replace("\0", "").strip()
    assert values["parameters"] == "seed: 9"


async def test_an_error_of_ours_keeps_it_too(
    rig: Rig, ada: Person, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(rig.client.services.requests, "ask", broken)
    message = await refused(ada, general, prompt="a fox", seed=3)
    values = await shown(await ada.click(message, RETRY))
    assert (values["prompt"], values["parameters"]) == ("a fox", "seed: 3")


async def test_only_whoever_typed_it_reads_it(
    rig: Rig, ada: Person, bo: Person, general: str, caplog: pytest.LogCaptureFixture
) -> None:
    await refused(ada, general, prompt="a secret", model="nope")
    theirs = await refused(bo, general, prompt="a fox", model="nope")
    drafts = rig.client.services.store.drafts
    ids = {person: int((await person.state())["me"]["id"]) for person in (ada, bo)}
    assert await drafts.get(ids[bo], 1) is None
    assert await drafts.get(ids[ada], 1) is not None
    assert "darkroom:draft:2" in [f["custom_id"] for f in fields_of(theirs["components"])]
    await rig.client.services.store.personal.delete(ids[bo])
    gone = await answer_to(await bo.click(theirs, RETRY))
    assert "no longer kept" in gone["content"]
    assert "Traceback" not in caplog.text  # no other button took it for its own


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_a_request_that_came_to_nothing(
    rig: Rig, ada: Person, bo: Person, general: str, how: str
) -> None:
    if how == "failed":
        rig.engine.failures.append("out_of_memory")
    else:
        rig.engine.gate = asyncio.Event()
    act = await ada.command(
        general, "imagine", prompt="a fox", negative_prompt="fog", steps=9, seed=4, preset="demo"
    )
    message = await act.deferred()
    if how == "cancelled":
        await ada.wait_for(
            "MESSAGE_UPDATE", lambda m: m["id"] == message["id"] and buttons(m) == ["Cancel"]
        )
        act = await ada.click(await ada.message(general, message["id"]), "Cancel")
        await act.wait_for("INTERACTION_SUCCESS")
        assert rig.engine.gate is not None
        rig.engine.gate.set()
    await rig.until(lambda job: job.delivered_at is not None)
    rig.engine.gate = None
    message = await ada.message(general, message["id"])
    assert buttons(message) == [RETRY]
    await rig.restart()
    other = await answer_to(await bo.click(await bo.message(general, message["id"]), RETRY))
    assert "asked" in other["content"]
    act = await ada.click(message, RETRY)
    values = await shown(act)
    assert (values["prompt"], values["negative_prompt"]) == ("a fox", "fog")
    lines = values["parameters"].split("\n")
    assert {"steps: 9", "seed: 4", "model: demo", "preset: demo", "private: no"} <= set(lines)
    entered = {"negative_prompt": values["negative_prompt"], "parameters": values["parameters"]}
    bad = entered | {"parameters": entered["parameters"].replace("steps: 9", "steps: 900")}
    again = await answer_to(await act.submit(prompt="a fox", **bad))
    act = await ada.click(again, RETRY)
    assert "steps: 900" in (await shown(act))["parameters"]
    sent = await act.submit(prompt="a red fox", **entered)
    await finished(ada, general, await sent.deferred())
    job = await rig.job(2)
    assert (job.parent, job.action, preset_of(job)) == (1, "retry", "demo")
    assert job.request == (await rig.job(1)).request.with_(prompt="a red fox")


async def test_an_enlarging_again_is_held_to_the_preset_of_its_picture(
    rig: Rig, ada: Person, general: str
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    presets = rig.studio.store.presets
    await presets.write(guild, Preset(name="few", max_pixels=512 * 512))
    first = await imagine(ada, general, width=512, height=512, preset="few")
    rig.engine.failures.append("out_of_memory")
    act = await ada.click(await ada.message(general, first["id"]), "Upscale")
    message = await act.deferred()
    failed = await rig.until(lambda job: job.delivered_at is not None, 2)
    await presets.change(guild, "few", lambda now: msgspec.structs.replace(now, roles=(7,)))
    refusal = await answer_to(await ada.click(await ada.message(general, message["id"]), RETRY))
    assert "few" in refusal["content"]
    await presets.change(guild, "few", lambda now: msgspec.structs.replace(now, roles=()))
    act = await ada.click(await ada.message(general, message["id"]), RETRY)
    await finished(ada, general, await act.deferred())
    # its own size is bounded by no preset
    assert (await rig.job(3)).request == failed.request


@pytest.mark.parametrize("name", ["Edit", "Start from it"])
async def test_a_refused_modal_is_opened_as_it_was(
    rig: Rig, ada: Person, general: str, name: str
) -> None:
    first = await imagine(ada, general)
    act = await press(ada, first, name)
    await act.modal()
    entered = {"prompt": "a cat", "negative_prompt": "a dog", "parameters": "steps: none"}
    message = await answer_to(await act.submit(**entered))
    act = await ada.click(message, RETRY)
    assert await shown(act) == entered
    sent = await act.submit(**(entered | {"parameters": "steps: 2"}))
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(2)).parent == 1
    # the request may be deleted meanwhile: what was typed about it is not
    message = await ada.message(general, message["id"])
    await rig.studio.store.personal.delete_job(1)
    act = await ada.click(message, RETRY)
    assert await shown(act) == entered
    sent = await act.submit(**(entered | {"parameters": "steps: 3"}))
    await finished(ada, general, await sent.deferred())
    job = await rig.job(3)
    assert (job.request.prompt, job.request.steps) == ("a cat", 3)


async def test_a_modal_is_opened_again_only_with_the_role_of_its_preset(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, preset="demo")
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    values = await shown(act)
    message = await answer_to(await act.submit(**values | {"parameters": "steps: none"}))
    guild = int((await ada.state())["guilds"][0]["id"])
    presets = rig.studio.store.presets
    await presets.change(guild, "demo", lambda now: msgspec.structs.replace(now, roles=(7,)))
    said = (await answer_to(await ada.click(message, RETRY)))["content"]
    assert "demo" in said
    assert "<@&7>" in said


@pytest.mark.parametrize("door", ["button", "menu", "/replay", "entry"])
async def test_a_refused_reroll_can_be_edited(
    rig: Rig, ada: Person, general: str, door: str
) -> None:
    first = await imagine(ada, general, steps=30)
    await rig.until(lambda job: job.delivered_at is not None)
    page = await (await ada.command(general, "history")).response()
    entry = await (await ada.click(page, "darkroom:entry", ["1"])).response()
    rig.config = with_limits(rig.config, steps=10)
    await rig.restart()
    if door == "button":
        act = await ada.click(await ada.message(general, first["id"]), "Reroll")
    elif door == "menu":
        act = await ada.use_on_message("Reroll", first)
    elif door == "/replay":
        act = await ada.command(general, "replay", job=1)
    else:
        act = await ada.click(entry, "darkroom:replay:1")
    message = await answer_to(act)
    values = await shown(await ada.click(message, RETRY))
    assert "steps: 30" in values["parameters"]


async def test_refused_settings_and_presets_are_kept(rig: Rig, ada: Person, general: str) -> None:
    panel = await (await ada.command(general, "settings")).response()
    act = await ada.click(panel, "darkroom:settings:guild", ["blocklist"])
    await act.modal()
    message = await answer_to(await act.submit(value="fog\n/(/"))
    assert await shown(await ada.click(message, RETRY)) == {"value": "fog\n/(/", "file": ""}
    panel = await (await ada.command(general, "preset create", name="tiny")).response()
    act = await ada.click(panel, "As text")
    await act.modal()
    toml = '[[preset]]\nname = "tiny"\nsteps = 2000'
    message = await answer_to(await act.submit(preset=toml))
    act = await ada.click(message, RETRY)
    assert (await shown(act)) == {"preset": toml}
    await (await act.submit(preset=toml.replace("2000", "2"))).response()
    guild = int((await ada.state())["guilds"][0]["id"])
    assert (await rig.studio.store.presets.get(guild, "tiny")).steps == 2
