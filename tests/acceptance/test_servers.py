"""What a server decides: presets, settings, who may ask for what, and where."""

import asyncio

import pytest

from generation.job import Job, JobState
from playground.control import Control
from playground.person import Person, fields_of
from playground.world import EPHEMERAL
from tests.acceptance.conftest import Json, Rig, finished
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_refusals import refused


@pytest.fixture
async def guild(rig: Rig, ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


async def say(person: Person, channel: str, command: str, /, **options: object) -> Json:
    """Use a command and read its answer, which only they see."""
    answer = await (await person.command(channel, command, **options)).response()
    assert answer["flags"] & 64
    return answer


def texts(components: list[Json]) -> str:
    """All the words of a message made of components."""
    found = []
    for component in components:
        found.append(component.get("content", ""))
        found.append(texts(component.get("components", [])))
    return "\n".join(part for part in found if part)


async def save_preset(person: Person, channel: str, name: str, toml: str) -> Json:
    panel = await (await person.command(channel, "preset create", name=name)).response()
    act = await (await person.click(panel, "As text")).submit(preset=toml)
    await act.wait_for("INTERACTION_SUCCESS")
    return await person.message(channel, panel["id"])


def preset_of(job: Job) -> str | None:
    """What the preset was called that a job was made with."""
    return job.preset.name if job.preset is not None else None


async def test_a_server_starts_with_presets_of_its_models(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    shown = await say(bo, general, "preset list")
    assert "demo" in shown["embeds"][0]["description"]


async def test_a_preset_is_made_used_changed_and_deleted(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    toml = '[[preset]]\nname = "tiny"\nsteps = 2\ntemplate = "a drawing of {prompt}, soft"\n'
    toml += 'negative_prompt = "fog"\n'
    saved = await save_preset(ada, general, "tiny", toml)
    assert "Steps**: 2" in texts(saved["components"])
    choices = await bo.autocomplete(general, "imagine", "preset", "ti")
    assert [choice["value"] for choice in choices][:1] == ["tiny"]
    await imagine(bo, general, prompt="a cat", preset="tiny")
    job = await rig.job(1)
    assert preset_of(job) == "tiny"
    assert job.request.prompt == "a drawing of a cat, soft"
    assert (job.request.steps, job.request.negative_prompt) == (2, "fog")
    await imagine(bo, general, prompt="a cat --preset tiny --steps 3 --no rain")
    again = (await rig.job(2)).request
    assert (again.steps, again.negative_prompt) == (3, "rain")
    panel = await (await ada.command(general, "preset edit", name="tiny")).response()
    act = await ada.click(panel, "As text")
    [field] = fields_of((await act.modal())["components"])
    edited = field["value"].replace("steps = 2", "steps = 5")
    await (await act.submit(preset=edited)).wait_for("INTERACTION_SUCCESS")
    await say(ada, general, "preset default", name="tiny")
    await imagine(bo, general, prompt="a dog")
    assert (await rig.job(3)).request.steps == 5
    await say(ada, general, "preset delete", name="tiny")
    await imagine(bo, general, prompt="a dog")
    assert (await rig.job(4)).preset is None
    assert "There is no preset" in await refused(bo, general, preset="tiny")


async def test_a_channel_has_a_default_of_its_own(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    await save_preset(ada, general, "tiny", '[[preset]]\nname = "tiny"\nsteps = 2\n')
    await say(ada, general, "preset default", name="tiny", channel=general)
    settings = await rig.studio.store.settings.guild(int(guild))
    assert settings.channel_presets == {int(general): "tiny"}
    await imagine(bo, general)
    assert preset_of(await rig.job(1)) == "tiny"
    await imagine(bo, await bo.channel("pictures"))
    assert preset_of(await rig.job(2)) != "tiny"
    await say(ada, general, "preset default", channel=general)
    assert (await rig.studio.store.settings.guild(int(guild))).channel_presets == {}


async def test_a_preset_from_a_picture(rig: Rig, ada: Person, general: str) -> None:
    await imagine(ada, general, steps=3, sampler="Euler")
    panel = await (await ada.command(general, "preset create", name="like this", job=1)).response()
    act = await ada.click(panel, "As text")
    [field] = fields_of((await act.modal())["components"])
    assert "steps = 3" in field["value"]
    assert 'sampler = "Euler"' in field["value"]


async def test_presets_go_to_another_server_as_a_file(
    rig: Rig, control: Control, ada: Person, general: str
) -> None:
    await save_preset(ada, general, "tiny", '[[preset]]\nname = "tiny"\nsteps = 2\n')
    exported = await say(ada, general, "preset export")
    _, content = await rig.control.get(exported["attachments"][0]["url"])
    assert b'name = "tiny"' in content
    await say(ada, general, "preset delete", name="tiny")
    upload = await ada.upload("presets.toml", content)
    answer = await say(ada, general, "preset import", file=upload, replace=True)
    assert "taken over" in answer["content"]
    await imagine(ada, general, preset="tiny")
    assert (await rig.job(1)).request.steps == 2


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("name = ", "TOML"),
        ('[[preset]]\nname = "tiny"\nstepps = 2', "stepps"),
        ('[[preset]]\nname = "tiny"\nsteps = 2000', "steps"),
        ('[[preset]]\nname = "tiny"\ntemplate = "no place"', "{prompt}"),
        (
            '[[preset]]\nname = "tiny"\n[[preset.loras]]\nname = "x"\nweight = 9',
            "lora_weight is 9; it must be from -4 to 4",
        ),
        ('[[preset]]\nname = "tiny"\nsteps = "many"', "For example: `steps = 30`"),
        ('[[preset]]\nname = "tiny"\nmodel = "dmeo"', "Nearest: demo"),
        (f"[[preset]]\n{'a.' * 999}a = 1", "Line 2"),
        ('[[preset]]\nname = "a"\n[[preset]]\nname = "b"', "one preset"),
    ],
)
async def test_wrong_presets(rig: Rig, ada: Person, general: str, toml: str, said: str) -> None:
    panel = await say(ada, general, "preset create", name="tiny")
    act = await (await ada.click(panel, "As text")).submit(preset=toml)
    answer = await act.response()
    assert said in answer["content"]
    assert len(answer["content"]) < 300


async def test_a_persons_weight_of_a_lora_wins_over_the_templates(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    name = rig.studio.catalog.loras[0].name
    toml = f'[[preset]]\nname = "tiny"\ntemplate = "{{prompt}} <lora:{name}:0.9>"\n'
    await save_preset(ada, general, "tiny", toml)
    await imagine(bo, general, prompt="a cat", preset="tiny", lora=name, lora_weight=0.3)
    await imagine(bo, general, prompt=f"a cat <lora:{name}:0.4>", preset="tiny")
    await imagine(bo, general, prompt="a cat", preset="tiny")
    for number, weight in ((1, 0.3), (2, 0.4), (3, 0.9)):
        request = (await rig.job(number)).request
        assert [(use.name, use.weight) for use in request.loras] == [(name, weight)]
        assert request.prompt == "a cat"


async def test_only_managers_write(rig: Rig, bo: Person, general: str) -> None:
    for command, options in (
        ("preset create", {"name": "x"}),
        ("preset delete", {"name": "demo"}),
        ("preset default", {"name": "demo"}),
    ):
        answer = await say(bo, general, command, **options)
        assert "may manage this server" in answer["content"]


async def test_bounds_and_roles_of_a_preset(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    role = await control.add_role(guild, "painters")
    toml = f'[[preset]]\nname = "tiny"\nmax_steps = 4\nroles = [{role["id"]}]\n'
    await save_preset(ada, general, "tiny", toml)
    assert "role" in await refused(bo, general, preset="tiny")
    user = (await bo.state())["me"]["id"]
    await control.change_member(guild, user, roles=[role["id"]])
    bo.events.clear()
    assert "at most 4" in await refused(bo, general, preset="tiny", steps=9)
    await imagine(bo, general, preset="tiny", steps=4)


async def test_the_panel_shows_and_changes_settings(
    rig: Rig, ada: Person, bo: Person, general: str, guild: str
) -> None:
    panel = await say(ada, general, "settings")
    assert "Who may press" in texts(panel["components"])
    act = await ada.click(panel, "darkroom:settings:guild", ["spoiler"])
    await act.wait_for("INTERACTION_SUCCESS")
    assert (await rig.studio.store.settings.guild(int(guild))).spoiler
    panel = await ada.message(general, panel["id"])
    assert "**Every picture as a spoiler**: yes" in texts(panel["components"])
    act = await ada.click(panel, "darkroom:settings:guild", ["quota"])
    await (await act.submit(value="3")).wait_for("INTERACTION_SUCCESS")
    assert (await rig.studio.store.settings.guild(int(guild))).quota == 3
    act = await ada.click(panel, "darkroom:settings:guild", ["press"])
    await (await act.submit(value=["owner"])).wait_for("INTERACTION_SUCCESS")
    assert (await rig.studio.store.settings.guild(int(guild))).press == "owner"
    act = await ada.click(panel, "darkroom:settings:guild", ["channels"])
    await (await act.submit(value=[general])).wait_for("INTERACTION_SUCCESS")
    assert (await rig.studio.store.settings.guild(int(guild))).channels == (int(general),)
    theirs = await say(bo, general, "settings")
    assert [f["custom_id"] for f in fields_of(theirs["components"])] == ["darkroom:settings:person"]
    message = await imagine(bo, general)
    assert message["attachments"][0]["filename"].startswith("SPOILER_")


async def test_a_wrong_value_is_refused(rig: Rig, ada: Person, general: str) -> None:
    panel = await say(ada, general, "settings")
    for name, value, said in (
        ("quota", "many", "must be a number"),
        ("quota", "0", "must be from 1"),
        ("default_preset", "nothing", "There is no preset"),
        ("blocklist", "/(/", "/(/"),
    ):
        act = await ada.click(panel, "darkroom:settings:guild", [name])
        answer = await (await act.submit(value=value)).response()
        assert said in answer["content"], name


async def test_ones_own_settings(rig: Rig, bo: Person, general: str) -> None:
    panel = await say(bo, general, "settings")
    act = await bo.click(panel, "darkroom:settings:person", ["private"])
    await act.wait_for("INTERACTION_SUCCESS")
    message = await imagine(bo, general)
    assert message["flags"] & 64
    shown = await imagine(bo, general, private=False)
    assert not shown["flags"] & 64


async def test_channels_and_age_restriction(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    settings = rig.studio.store.settings
    other = str((await control.add_channel(guild, "pictures", nsfw=True))["id"])
    await settings.change_guild(int(guild), channels=(int(other),))
    assert f"<#{other}>" in await refused(bo, general)
    await imagine(bo, other)
    await settings.change_guild(int(guild), channels=(), age_restricted=True)
    bo.events.clear()
    assert "age-restricted" in await refused(bo, general)
    await imagine(bo, other)


async def test_a_quota_a_day(rig: Rig, bo: Person, general: str, guild: str) -> None:
    await rig.studio.store.settings.change_guild(int(guild), quota=2)
    await imagine(bo, general, count=2)
    bo.events.clear()
    assert "<t:" in await refused(bo, general)
    await rig.studio.store.settings.change_guild(int(guild), quota=3)
    bo.events.clear()
    await imagine(bo, general)


async def test_requests_sent_together_share_one_quota(
    rig: Rig, bo: Person, general: str, guild: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), quota=2)
    acts = await asyncio.gather(
        *(bo.command(general, "imagine", prompt=f"cat {number}", count=2) for number in range(3))
    )
    answers = [await act.response() for act in acts]
    assert sum(bool(answer["flags"] & EPHEMERAL) for answer in answers) == 2
    await rig.until(lambda job: job.state is JobState.FINISHED)
    assert await rig.studio.jobs.get(2) is None


async def test_the_blocklist_and_the_audit_channel(
    rig: Rig, control: Control, ada: Person, bo: Person, general: str, guild: str
) -> None:
    audit = str((await control.add_channel(guild, "audit"))["id"])
    await rig.studio.store.settings.change_guild(
        int(guild), blocklist=("forbidden thing", "/bl[uo]+d/"), audit_channel=int(audit)
    )
    said = await refused(bo, general, prompt="a FORBIDDEN  thing on a table")
    assert "forbidden" not in said.casefold()
    noted = await ada.wait_for("MESSAGE_CREATE", lambda m: m["channel_id"] == audit)
    assert "FORBIDDEN" in noted["content"]
    bo.events.clear()
    await refused(bo, general, prompt="much blood")
    await imagine(bo, general, prompt="a table")
    noted = await ada.wait_for(
        "MESSAGE_CREATE", lambda m: m["channel_id"] == audit and "a table →" in m["content"]
    )
    assert noted["mentions"] == []


@pytest.mark.parametrize("check", ["blur", "block"])
async def test_the_picture_check(
    rig: Rig, bo: Person, general: str, guild: str, check: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), picture_check=check)
    rig.engine.unsafe = (0.9, 0.1)
    act = await bo.command(general, "imagine", prompt="a lighthouse", count=2)
    message = await finished(bo, general, await act.deferred())
    names = [file["filename"] for file in message["attachments"]]
    if check == "blur":
        assert [name.startswith("SPOILER_") for name in names] == [True, False]
    else:
        assert names == ["darkroom-1-2.png"]
        assert "One picture is held back" in message["content"]
    previews = [e for e in bo.events if "preview" in str(e["d"].get("attachments", ""))]
    assert previews == []


async def test_the_answers_are_in_the_persons_language(
    rig: Rig, control: Control, ada: Person, general: str
) -> None:
    guild = (await ada.state())["guilds"][0]["id"]
    await control.add_user("dou", locale="zh-CN", guilds=[guild])
    dou = await control.person("dou")
    said = await refused(dou, general, prompt="   ")
    assert "提示词" in said


async def test_every_command_option_and_choice_has_a_chinese_name(rig: Rig, ada: Person) -> None:
    untranslated = []

    def look(thing: Json, path: str) -> None:
        for key in ("name", "description"):
            # the description of a context menu is empty, a number is the same everywhere
            if thing.get(key) and "zh-CN" not in (thing.get(f"{key}_localizations") or {}):
                untranslated.append(f"{path} {thing['name']}: {key}")
        for inner in [*thing.get("options", []), *thing.get("choices", [])]:
            look(inner, f"{path} {thing['name']}")

    commands = (await ada.state())["commands"]
    for command in commands:
        look(command, "")
    assert len(commands) == len(rig.client.tree.get_commands())
    assert untranslated == []
    names = [command["name_localizations"]["zh-CN"] for command in commands]
    assert len(set(names)) == len(names)
