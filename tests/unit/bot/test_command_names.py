"""Names and descriptions of all commands, options and choices, in every language."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import discord
import pytest
import regex
from discord import app_commands
from discord.app_commands import TranslationContextLocation, TranslationContextTypes, locale_str

from bot import locales
from bot.app import make_client, open_studio
from bot.client import DarkroomClient, LocaleTranslator, commands, key_of
from bot.config import Config, StorageSettings
from generation.engines.fake import FakeEngine

Json = dict[str, Any]
NAME = regex.compile(r"[-_\p{L}\p{N}]{1,32}")
"""Discord's page "Application Commands", section "Application Command Naming"."""
NAME_MAX = 32
HELP_MAX = 100
CHOICE_MAX = 100
MESSAGE_MENU = 3


class Recorder(LocaleTranslator):
    """Translates, and remembers which sentences that took and what they are in English."""

    def __init__(self) -> None:
        self.asked: dict[str, str] = {}

    async def translate(
        self, string: locale_str, locale: discord.Locale, context: TranslationContextTypes
    ) -> str | None:
        key = key_of(string, context.location)
        if key:
            assert self.asked.setdefault(key, string.message) == string.message
        elif context.location is not TranslationContextLocation.command_description:
            raise AssertionError(f"{string} has no key")
        return await super().translate(string, locale, context)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[DarkroomClient]:
    config = Config(
        file=tmp_path / "config.toml", storage=StorageSettings(folder=tmp_path / "data")
    )
    async with open_studio(config, FakeEngine()) as studio:
        yield make_client(config, studio)


@pytest.fixture
async def registered(client: DarkroomClient) -> tuple[list[Json], dict[str, str]]:
    """The commands as Discord gets them, and the sentences that they are made of."""
    recorder = Recorder()
    payloads = []
    for command in commands(client.services):
        payloads.append(await command.get_translated_payload(client.tree, recorder))
    return payloads, recorder.asked


Registered = tuple[list[Json], dict[str, str]]


def within(thing: Json) -> Iterator[Json]:
    """A command and all its subcommands and options."""
    yield thing
    for inner in thing.get("options", []):
        yield from within(inner)


def said(thing: Json, key: str, locale: str) -> str:
    """A name or description as somebody sees it whose Discord speaks that language."""
    return str((thing.get(f"{key}_localizations") or {}).get(locale, thing.get(key, "")))


@pytest.mark.parametrize("locale", locales.LOCALES)
async def test_each_language_has_what_the_commands_ask_for_and_no_more(
    registered: Registered, locale: str
) -> None:
    english, found = locales.sentences(locales.DEFAULT), locales.sentences(locale)
    _, asked = registered
    assert len(asked) > 80, "the search finds nothing"
    assert set(found) - set(english) - set(asked) == set()
    if locale == locales.DEFAULT:
        # what the code says where a sentence is not in the file
        assert {key: found[key] for key in asked.keys() & found.keys()}.items() <= asked.items()
    else:
        assert set(asked) - set(found) == set()


@pytest.mark.parametrize("locale", locales.LOCALES)
async def test_discord_takes_every_name_and_description(
    registered: Registered, locale: str
) -> None:
    for command in registered[0]:
        for thing in within(command):
            name, help_ = said(thing, "name", locale), said(thing, "description", locale)
            if thing.get("type") == MESSAGE_MENU and thing is command:
                assert 1 <= len(name) <= NAME_MAX, name
                continue
            assert NAME.fullmatch(name), name
            assert name == name.lower()
            assert 1 <= len(help_) <= HELP_MAX, help_
            for choice in thing.get("choices", []):
                assert 1 <= len(said(choice, "name", locale)) <= CHOICE_MAX


@pytest.mark.parametrize("locale", locales.LOCALES)
async def test_no_two_things_side_by_side_have_one_name(
    registered: Registered, locale: str
) -> None:
    payloads, _ = registered
    # a slash command and a menu may share a name
    for kind in {payload.get("type") for payload in payloads}:
        names = [said(p, "name", locale) for p in payloads if p.get("type") == kind]
        assert len(set(names)) == len(names)
    for command in payloads:
        for thing in within(command):
            for inner in ("options", "choices"):
                names = [said(part, "name", locale) for part in thing.get(inner, [])]
                assert len(set(names)) == len(names), names


async def test_a_name_without_a_translation_stays_english() -> None:
    translator = LocaleTranslator()
    parameter: Any = None
    context: Any = app_commands.TranslationContext(
        TranslationContextLocation.parameter_name, parameter
    )
    name = locale_str("steps")
    assert await translator.translate(name, discord.Locale.chinese, context) == "步数"
    assert await translator.translate(name, discord.Locale.german, context) is None
    unknown = locale_str("no such option")
    assert await translator.translate(unknown, discord.Locale.chinese, context) is None
