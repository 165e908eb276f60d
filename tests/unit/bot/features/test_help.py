"""The words of the help, and where a server is greeted."""

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.features.help import page, welcome
from bot.locales import LOCALES, Texts

FIELD_MAX = 1024
"""Discord's bound."""


def channel(name: str, **granted: bool) -> Any:
    permissions = discord.Permissions(**{"view_channel": True, "send_messages": True} | granted)
    return SimpleNamespace(name=name, permissions_for=lambda _member: permissions)


def guild(system: Any, *channels: Any) -> Any:
    return SimpleNamespace(me=None, system_channel=system, text_channels=channels)


def test_a_server_is_greeted_where_discord_greets_people() -> None:
    rules, talk = channel("rules"), channel("talk")
    assert welcome.first_channel(guild(talk, rules, talk)) is talk


def test_else_in_the_first_channel_that_the_bot_may_write_in() -> None:
    hidden, rules = channel("hidden", view_channel=False), channel("rules", send_messages=False)
    talk = channel("talk")
    assert welcome.first_channel(guild(rules, hidden, rules, talk)) is talk
    assert welcome.first_channel(guild(None, hidden, rules)) is None


def test_a_command_whose_id_is_not_known_is_written_plainly() -> None:
    assert page.mention("preset list", {}) == "`/preset list`"
    assert page.mention("preset list", {"preset": 5}) == "</preset list:5>"


@pytest.mark.parametrize("locale", LOCALES)
def test_a_page_fits_however_long_the_examples_are(locale: str) -> None:
    prompts = ["*loud* castle " * 100] * 3
    embed = page.page([], prompts, {"imagine": 10**18}, Texts(locale), "https://example.org")
    assert all(1 <= len(str(field.value)) <= FIELD_MAX for field in embed.fields)
    assert len(embed) <= 6000
    assert len(page.welcome(prompts, {}, Texts(locale))) <= 2000
