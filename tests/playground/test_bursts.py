"""Floods: everything in one instant, and nothing of it lost."""

from __future__ import annotations

import pytest

from playground.control import Control, ControlError, Person

from .bot import SampleBot
from .conftest import Rest
from .test_messages import channel_of


async def test_a_flood(
    bot: SampleBot, control: Control, ada: Person, guild: str, general: str
) -> None:
    crowd = await control.add_crowd(guild, 300, "fan")
    message = await channel_of(bot).send("x")
    place = {"channel": general, "message": str(message.id), "emoji": "👍"}
    state = await ada.state()
    whisper = next(c["id"] for c in state["commands"] if c["name"] == "silence")
    act = {"type": 2, "channel": general, "command": whisper}
    begun = await control.burst(
        reactions=[{"user": user, **place} for user in crowd],
        interactions=[{"user": user, **act} for user in crowd[:100]],
    )
    reacted = await bot.wait_seen("raw_reaction_add", 300)
    assert [str(event.user_id) for event in reacted] == crowd
    asked = await bot.wait_seen("interaction", 100)
    assert [str(interaction.id) for interaction in asked] == [one["id"] for one in begun]
    shown = await ada.message("general", str(message.id))
    assert shown["reactions"][0]["count"] == 300
    assert state["users"][-1]["username"] == "fan-300"


async def test_what_is_no_flood(control: Control, guild: str) -> None:
    with pytest.raises(ControlError, match="list of objects"):
        await control.call("POST", "/bursts", {"reactions": ["x"]})
    with pytest.raises(ControlError, match="whole number"):
        await control.add_crowd(guild, 0)


async def test_ended_interactions_are_forgotten(
    bot: SampleBot, control: Control, ada: Person, rest: Rest
) -> None:
    """A run of days holds no more than a quarter of an hour of them."""
    act = await ada.command("general", "draw", prompt="x")
    await act.response()
    hook = f"/webhooks/{rest.addresses.application_id}/{act.token}/messages/@original"
    assert (await rest.call("GET", hook)).status == 200
    await control.clock(15 * 60)
    assert (await rest.call("GET", hook)).code == 50027
    answered = await rest.call("POST", f"/interactions/{act.id}/{act.token}/callback", {"type": 5})
    assert answered.code == 10062
