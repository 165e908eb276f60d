"""Whatever an interaction carries, whoever sent it reads one sentence that says what to change."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.client import ITEMS, MODALS, known
from bot.interactions.modal_submit import on_modal
from bot.interactions.responding import AnsweredError, responding
from bot.locales import sentences
from tests.acceptance.conftest import Rig
from tests.fixtures import fuzz

HUGE = "1" * 4301
PARTS = (
    "",
    "0",
    "1",
    "1:0",
    "9" * 18,
    HUGE,
    "guild",
    "person",
    "quota",
    "²",
    "-1",
    "x y",
    "a" * 64,
)
FIELDS = (
    *("prompt", "negative_prompt", "parameters", "controlnet", "control_scale", "preset", "value"),
    *("role", "channel", "other"),
)
INCIDENT = sentences("en-US")["incident"][:20]
NAMES = (*MODALS, "unknown", "", "DARK", "x" * 90)


class Response:
    """Remembers that it was answered."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self.type: Any = None

    def is_done(self) -> bool:
        return self.type is not None

    async def send_message(self, text: str = "", **_more: Any) -> None:
        self.type = discord.InteractionResponseType.channel_message
        self._said.append(text)

    async def defer(self, **_more: Any) -> None:
        self.type = discord.InteractionResponseType.deferred_channel_message

    async def edit_message(self, **_more: Any) -> None:
        await self.send_message("edited")

    async def send_modal(self, _modal: Any) -> None:
        await self.send_message("modal")


def an_interaction(rig: Rig, data: Any, number: int) -> tuple[Any, list[str]]:
    """As discord.py would hand it in, by somebody who manages the server; and what is answered."""
    said: list[str] = []

    async def followup(text: str = "", **_more: Any) -> None:
        said.append(text)

    async def deleted(**_more: Any) -> None:
        pass

    async def edited(content: str | None = None, **_more: Any) -> None:
        said.append(content or "")

    interaction = SimpleNamespace(
        id=10**15 + number,
        client=rig.client,
        data=data,
        user=SimpleNamespace(id=5, display_name="eve", roles=[]),
        guild_id=None if number % 5 == 4 else 10,
        guild=None,
        channel_id=100,
        channel=None,
        message=None,
        command=None,
        permissions=discord.Permissions.all(),
        app_permissions=discord.Permissions.all(),
        is_guild_integration=lambda: True,
        locale="en-US",
        application_id=1,
        token="token",
        expires_at=discord.utils.utcnow(),
        created_at=discord.utils.utcnow(),
        filesize_limit=10**7,
        extras={},
        response=Response(said),
        followup=SimpleNamespace(send=followup),
        delete_original_response=deleted,
        edit_original_response=edited,
        type=discord.InteractionType.modal_submit,
    )
    return interaction, said


def _a_field(chance: random.Random, text: str, anything: tuple[Any, ...]) -> Any:
    field: Any = {"type": 4, "custom_id": chance.choice((*FIELDS, text))}
    if chance.random() < 0.8:
        field[chance.choice(("value", "values"))] = chance.choice((*anything, "cat"))
    wrapped = {"type": 18, "component": field}
    row = {"type": 1, "components": [field, chance.choice(anything)]}
    return chance.choice((field, field, wrapped, row, *anything))


def payloads(count: int) -> Iterator[dict[str, Any]]:
    """Modals that nobody could have handed in."""
    chance = random.Random(count)
    for text in fuzz.texts(count, [":", "1", "darkroom", "cat", "steps: 9\n"], 6):
        anything: tuple[Any, ...] = (text, [text], [], None, {}, 3, True, HUGE, ["1"], [None], "1")
        fields = [_a_field(chance, text, anything) for _ in range(chance.randint(0, 6))]
        rest = ":".join(chance.choice((*PARTS, text)) for _ in range(chance.randint(0, 4)))
        name = chance.choice(NAMES)
        custom_id = chance.choice((f"darkroom:{name}:{rest}", f"darkroom:{name}", text, rest))
        data: dict[str, Any] = {"custom_id": custom_id, "components": fields}
        if chance.random() < 0.05:
            data["components"] = chance.choice(anything)
        if chance.random() < 0.02:
            del data["custom_id"]
        yield data


def items(custom_id: str) -> list[Any]:
    """The classes of items that take a custom_id."""
    return [i for i in ITEMS if i.__discord_ui_compiled_template__.fullmatch(custom_id)]


def is_a_sentence(text: str) -> bool:
    return 0 < len(text) <= 2000 and "{" not in text


@pytest.mark.parametrize("count", fuzz.CASES)
async def test_modals_that_nobody_could_have_handed_in(rig: Rig, count: int) -> None:
    for number, data in enumerate(payloads(count)):
        interaction, said = an_interaction(rig, data, number)
        await on_modal(interaction, MODALS)
        assert interaction.response.is_done(), data
        assert len(said) <= 1, (data, said)
        assert not any(text.startswith(INCIDENT) for text in said), (data, said)


@pytest.mark.parametrize(
    "custom_id", ["darkroom:1", "darkroom:gone:1", "reroll-5", f"darkroom:reroll:{HUGE}", ""]
)
async def test_components_that_nobody_knows_are_answered(rig: Rig, custom_id: str) -> None:
    interaction, said = an_interaction(rig, {"custom_id": custom_id}, 2)
    interaction.type = discord.InteractionType.component
    assert not known(interaction)
    await rig.client.on_interaction(interaction)
    assert said == [sentences("en-US")["press_gone"]]


@pytest.mark.parametrize("values", [[], [""], ["x"], [HUGE], ["²"], ["9" * 18]])
async def test_menus_whose_values_are_none(rig: Rig, values: list[str]) -> None:
    for number, custom_id in enumerate(("darkroom:entry", "darkroom:settings:guild")):
        [item] = items(custom_id)
        interaction, said = an_interaction(rig, {"custom_id": custom_id}, 10 + number)
        select: Any = discord.ui.Select(custom_id=custom_id)
        select._values = values
        await item(select).callback(interaction)
        [sentence] = said
        assert is_a_sentence(sentence)
        assert not sentence.startswith(INCIDENT)


async def test_a_refusal_before_anything_begins_is_an_answer_and_no_fault(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    interaction, said = an_interaction(rig, {"options": [{"name": "x", "value": "\0"}]}, 3)
    with pytest.raises(AnsweredError) as answered:
        async with responding(interaction):
            pytest.fail("it began")
    assert len(said) == 1
    await rig.client.tree.on_error(interaction, answered.value)
    assert not caplog.records
