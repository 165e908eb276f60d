"""Whatever a command or an autocomplete carries, it is answered with one sentence or choices."""

import random
from collections.abc import Iterator
from typing import Any

import discord
import pytest
import structlog
from discord import app_commands

from bot.locales import sentences
from generation.preset import Preset
from storage.errors import DatabaseBusyError
from tests.acceptance.conftest import Rig
from tests.acceptance.hostile import HUGE, INCIDENT, Interaction, an_interaction, check_answers
from tests.fixtures import fuzz

STRING, INTEGER, BOOLEAN, CHANNEL, NUMBER, ATTACHMENT = 3, 4, 5, 7, 10, 11
COMMAND, COMPLETED = (
    discord.InteractionType.application_command,
    discord.InteractionType.autocomplete,
)
INTEGERS = (0, 1, -1, 4, 64, 128, 2**31, 2**53, -(2**53), 2**63, int("9" * 4000))
NUMBERS = (0, 1.5, -1e308, 1e308, float("inf"), float("nan"), 2**53, 10**400)
OFTEN = (
    "imagine",
    "imagine",
    "imagine",
    "history",
    "preset create",
    "preset edit",
    "mypreset create",
)
"""What more can go wrong in."""
ANYTHING: tuple[Any, ...] = (None, "", "x", HUGE, 3, True, 1.5, [], {}, [None], {"a": 1}, "\ud83d")
NAMES = ("demo", "x" * 6000, "\0", "\ud83d", HUGE, " ", ":", "a\nb", "```", "1")


def leaves(tree: app_commands.CommandTree[Any]) -> list[Any]:
    """Every command that can be used, groups taken apart."""
    every = [c for c in tree.walk_commands() if isinstance(c, app_commands.Command)]
    named = {command.qualified_name: command for command in every}
    return [*every, *(named[name] for name in OFTEN)]


def a_value(chance: random.Random, kind: int, text: str) -> Any:
    if chance.random() < 0.02:
        return chance.choice(ANYTHING)
    match kind:
        case 4:
            return chance.choice(INTEGERS)
        case 5:
            return chance.random() < 0.5
        case 10:
            return chance.choice(NUMBERS)
        case 7 | 11:
            return chance.choice(("7", "7", "8", HUGE, "x", ""))
    return chance.choice((*NAMES, text, "demo", "demo"))


def resolved(chance: random.Random, text: str) -> Any:
    """What Discord says of channels and attachments that are named."""
    if chance.random() < 0.02:
        return chance.choice(ANYTHING)
    size = chance.choice((0, 10, -1, 2**40, 10**30))
    attachment: dict[str, Any] = {
        "id": "7",
        "size": size,
        "filename": chance.choice((*NAMES, text)),
        "url": chance.choice(("http://127.0.0.1:9/7", "", "x y", "ftp://a", text)),
        "proxy_url": "",
        "content_type": chance.choice(("image/png", text, None)),
        "width": chance.choice((None, 64, 0, -1, 10**30)),
        "height": 64,
    }
    channel: dict[str, Any] = {
        "id": "7",
        "type": chance.choice((0, 0, 11, 99)),
        "name": text,
        "permissions": "0",
        "parent_id": "8",
        "position": 1,
        "owner_id": "5",
        "message_count": 1,
        "member_count": 1,
        "total_message_sent": 1,
        "thread_metadata": {
            "archived": False,
            "auto_archive_duration": 60,
            "archive_timestamp": "2026-01-01T00:00:00+00:00",
        },
    }
    for each in (attachment, channel):
        if chance.random() < 0.03:
            del each[chance.choice(list(each))]
        if chance.random() < 0.03:
            each[chance.choice(list(each))] = chance.choice(ANYTHING)
    return {"attachments": {"7": attachment}, "channels": {"7": channel}}


def payloads(commands: list[Any], count: int) -> Iterator[tuple[discord.InteractionType, Any]]:
    """Commands as Discord sends them, and as nobody would."""
    chance = random.Random(count)
    for text in fuzz.texts(count, [" cat ", "--steps 9 ", "--ar 2:3 ", "<lora:x:1>", "demo"], 6):
        command = chance.choice(commands)
        given: list[Any] = []
        for parameter in command.parameters:
            if not parameter.required and chance.random() < 0.6:
                continue
            if chance.random() < 0.02:
                continue
            kind = parameter.type.value
            option = {"name": parameter.display_name, "type": kind}
            option["value"] = a_value(chance, kind, text)
            if chance.random() < 0.02:
                option["type"] = chance.choice((1, 3, 4, 5, 7, 10, 11, 99, None, "x"))
            if chance.random() < 0.02:
                option["name"] = chance.choice((text, "prompt", "unknown", None, 3))
            if chance.random() < 0.01:
                del option[chance.choice(list(option))]
            given.append(option)
        if chance.random() < 0.02:
            given.append(chance.choice(ANYTHING))
        type_ = chance.choice((COMMAND, COMMAND, COMPLETED))
        if type_ is COMPLETED and given and chance.random() < 0.95:
            one = chance.choice(given)
            if isinstance(one, dict):
                one["focused"] = True
                one["value"] = chance.choice((*NAMES, text, 5, -1.5, "", None, "#1", "1"))
        options: Any = given
        for parent in reversed(command.qualified_name.split()[1:]):
            options = [{"name": parent, "type": 1, "options": options}]
        if chance.random() < 0.02:
            options = chance.choice(ANYTHING)
        name = command.qualified_name.split()[0]
        if chance.random() < 0.02:
            name = chance.choice((text, "unknown", None, 3))
        data: dict[str, Any] = {"id": "9", "name": name, "type": 1, "options": options}
        data["resolved"] = resolved(chance, text)
        if chance.random() < 0.01:
            del data[chance.choice(list(data))]
        if chance.random() < 0.005:
            data["type"] = chance.choice((2, 3, 99, None))
        yield type_, chance.choice(ANYTHING) if chance.random() < 0.002 else data


def menus(commands: list[Any], count: int) -> Iterator[Any]:
    """Menus of messages, as Discord sends them, of messages that hold anything."""
    chance = random.Random(count)
    for text in fuzz.texts(count, ["image/png", "darkroom", "http://127.0.0.1:9/"], 4):
        attachments = [resolved(chance, text) for _ in range(chance.choice((0, 1, 1, 10)))]
        message: dict[str, Any] = {
            "id": "5",
            "channel_id": "100",
            "author": {"id": "6", "username": text, "discriminator": "0", "avatar": None},
            "content": text,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [
                each["attachments"]["7"]
                for each in attachments
                if isinstance(each, dict) and each.get("attachments")
            ],
            "embeds": [],
            "pinned": False,
            "type": 0,
            "flags": 0,
            "components": [],
        }
        if chance.random() < 0.05:
            del message[chance.choice(list(message))]
        if chance.random() < 0.05:
            message[chance.choice(list(message))] = chance.choice(ANYTHING)
        data: dict[str, Any] = {
            "id": "9",
            "name": chance.choice(commands).name if chance.random() < 0.98 else text,
            "type": chance.choice((3, 3, 3, 3, 2)) if chance.random() < 0.1 else 3,
            "target_id": chance.choice(("5", "5", "5", "6", None))
            if chance.random() < 0.1
            else "5",
            "resolved": {"messages": {"5": message}},
        }
        yield data


async def use(rig: Rig, interaction: Interaction) -> None:
    """As discord.py runs a command."""
    tree = rig.client.tree
    try:
        await tree._call(interaction)
    except app_commands.AppCommandError as error:
        await tree._dispatch_error(interaction, error)


@pytest.mark.parametrize("count", fuzz.CASES)
async def test_commands_that_nobody_could_have_used(
    rig: Rig, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    for number, (type_, data) in enumerate(payloads(leaves(rig.client.tree), count)):
        interaction = an_interaction(rig, type_, data, number, person=5 + number % 500)
        await use(rig, interaction)
        assert interaction.response.is_done(), data
        check_answers(interaction, caplog, data)


@pytest.mark.parametrize("count", fuzz.CASES)
async def test_menus_of_messages_that_nobody_could_have_sent(
    rig: Rig, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    every = list(rig.client.tree.walk_commands(type=discord.AppCommandType.message))
    for number, data in enumerate(menus(every, count)):
        interaction = an_interaction(rig, COMMAND, data, number, person=5 + number % 500)
        await use(rig, interaction)
        assert interaction.response.is_done(), data
        check_answers(interaction, caplog, data)


@pytest.mark.parametrize(
    "data",
    [
        {"name": "gone"},
        {"name": "queue", "options": [{"name": "gone", "type": STRING, "value": "x"}]},
        {"name": "imagine", "options": [{"name": "prompt", "type": INTEGER, "value": 5}]},
        {"name": "imagine", "options": []},
        {"name": "replay", "options": [{"name": "job", "type": INTEGER, "value": 2**63}]},
        {"name": "preset", "options": [{"name": "gone", "type": 1, "options": []}]},
        {"name": "Reroll", "type": 3, "target_id": "5"},
    ],
)
async def test_a_command_as_it_was_before_an_update_is_answered(
    rig: Rig, data: dict[str, Any]
) -> None:
    interaction = an_interaction(rig, COMMAND, data, 0)
    await use(rig, interaction)
    assert interaction.answers.said == [sentences("en-US")["command_changed"]]


@pytest.mark.parametrize(
    "options",
    [
        [{"name": "gone", "type": STRING, "value": "x", "focused": True}],
        [{"name": "search", "type": STRING, "value": "x", "focused": True}],
        [{"name": "model", "type": STRING, "value": 5, "focused": True}],
        [{"name": "model", "type": STRING, "value": "\ud83d", "focused": True}],
        [],
    ],
)
async def test_what_cannot_be_completed_has_no_choices(
    rig: Rig, options: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    interaction = an_interaction(rig, COMPLETED, {"name": "history", "options": options}, 0)
    await use(rig, interaction)
    assert interaction.answers.said == ["choices"]
    check_answers(interaction, caplog, options)


async def test_a_fault_of_a_command_is_logged_and_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_interaction: Any) -> None:
        raise ValueError

    [queue] = (command for command in leaves(rig.client.tree) if command.name == "queue")
    monkeypatch.setattr(queue, "_callback", broken)
    interaction = an_interaction(rig, COMMAND, {"name": "queue"}, 0)
    with structlog.testing.capture_logs() as logs:
        await use(rig, interaction)
    [said] = interaction.answers.said
    assert said.startswith(INCIDENT)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "interaction failed"
    ]


async def test_names_that_are_markup_are_shown_as_they_are(rig: Rig) -> None:
    await rig.studio.store.own_presets.write(5, Preset(name="**x**"))
    for command in ("default", "delete"):
        options = [{"name": "name", "type": STRING, "value": "**x**"}]
        data = {"name": "mypreset", "options": [{"name": command, "type": 1, "options": options}]}
        interaction = an_interaction(rig, COMMAND, data, len(command))
        await use(rig, interaction)
        [said] = interaction.answers.said
        assert r"\*\*x\*\*" in said


async def test_a_long_preset_is_shown_whole(rig: Rig) -> None:
    await rig.studio.store.presets.write(10, Preset(name="long", negative_prompt="x" * 4000))
    options = [{"name": "name", "type": STRING, "value": "long"}]
    data = {"name": "preset", "options": [{"name": "show", "type": 1, "options": options}]}
    interaction = an_interaction(rig, COMMAND, data, 0)
    await use(rig, interaction)
    assert interaction.answers.said == ["shown"]
    assert [file.filename for file in interaction.answers.files] == ["preset.toml"]


async def test_while_the_database_is_busy_nothing_is_offered(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def busy(*_arguments: Any, **_options: Any) -> Any:
        raise DatabaseBusyError("busy")

    store = rig.studio.store
    monkeypatch.setattr(store.history, "models", busy)
    monkeypatch.setattr(store.jobs, "waiting", busy)
    monkeypatch.setattr(store.presets, "all_of", busy)
    asked = {"history": "model", "cancel": "job", "imagine": "preset", "preset": "name"}
    for number, (command, option) in enumerate(asked.items()):
        options: list[Any] = [{"name": option, "type": STRING, "value": "", "focused": True}]
        if command == "cancel":
            options[0]["type"] = INTEGER
        if command == "preset":
            options = [{"name": "show", "type": 1, "options": options}]
        interaction = an_interaction(rig, COMPLETED, {"name": command, "options": options}, number)
        await use(rig, interaction)
        assert interaction.answers.said == ["choices"], command
        check_answers(interaction, caplog, command)
