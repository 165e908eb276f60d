"""A local Discord in its own process, a bot in this one, and people in a real browser."""

from __future__ import annotations

import asyncio
import itertools
import re
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
import yarl
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    async_playwright,
    expect,
)

from tests.patience import PATIENCE

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 no longer has
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord

from discord.gateway import DiscordWebSocket

from playground.control import Control, Person
from playground.process import local_discord
from playground.server import Addresses
from tests import browser as installed

from .scripted import PageBot

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MILLISECONDS = 1000

expect.set_options(timeout=PATIENCE * MILLISECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a browser and shares one Discord, one bot and one event loop."""
    for item in items:
        if "playground_page" in item.nodeid and item.get_closest_marker("browser") is None:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def chromium() -> AsyncIterator[Browser]:
    path = installed.find()
    if path is None:
        pytest.skip(installed.MISSING)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def addresses(chromium: Browser) -> AsyncIterator[Addresses]:
    async with local_discord() as started:
        yield started


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def control(addresses: Addresses) -> AsyncIterator[Control]:
    async with Control(addresses.url) as client:
        await client.limits(enabled=False)
        yield client


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def bot(addresses: Addresses, control: Control) -> AsyncIterator[PageBot]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discord.http.Route, "BASE", f"{addresses.api}/v10")
        patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(addresses.gateway))
        client = PageBot()
        running = asyncio.create_task(client.start("a-token"))
        async with asyncio.timeout(PATIENCE):
            while not client.is_ready() and not running.done():
                await asyncio.sleep(0.01)
        assert client.is_ready(), "the bot did not become ready"
        yield client
        await client.close()
        await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="package")
async def ada(control: Control, bot: PageBot) -> Person:
    """Owns the server; the bot lets everything pass again."""
    bot.let_go()
    bot.reactions.clear()
    return await control.person("ada")


@pytest_asyncio.fixture(loop_scope="package")
async def bo(control: Control) -> Person:
    return await control.person("bo")


IN_USE = """Boolean(document.querySelector(
    "#layers *, .command-line, :is(.reply-bar, .tray, .suggest):not([hidden])"
) || document.querySelector("textarea.plain")?.value)"""
"""Whether a test left something open or half written."""

NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="package")
async def room(ada: Person, control: Control) -> str:
    """The name of a channel that only this test uses."""
    guild = (await ada.state())["guilds"][0]["id"]
    name = f"room-{next(NUMBERS)}"
    await control.add_channel(guild, name)
    return name


@dataclass
class Chat:
    """The page of one person."""

    page: Page
    problems: list[str] = field(default_factory=list)

    @property
    def composer(self) -> Locator:
        return self.page.get_by_role("combobox", name="Message", exact=True)

    @property
    def messages(self) -> Locator:
        return self.page.locator("li.message")

    @property
    def suggestions(self) -> Locator:
        return self.page.locator(".suggest [role=option]")

    def message(self, text: str) -> Locator:
        return self.messages.filter(has_text=text)

    def pill(self, name: str) -> Locator:
        return self.page.locator(f".pill[data-option='{name}']")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def custom(self, custom_id: str) -> Locator:
        """A button or select of a message."""
        return self.page.locator(f"[data-custom-id='{custom_id}']")

    async def enter(self, channel: str) -> None:
        await self.enter_unseen(channel)
        await expect(self.page.locator(".welcome")).to_be_visible()

    async def enter_unseen(self, channel: str) -> None:
        """A channel whose beginning is not yet loaded."""
        await self.page.get_by_role("button", name=re.compile(f"hannel {channel}\\b")).click()
        await expect(self.page.locator(".topbar h2")).to_have_text(channel)

    async def keys(self, text: str) -> None:
        await self.page.keyboard.type(text)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)


Opening = Callable[..., Awaitable[Chat]]


@dataclass
class Browsing:
    """Each person's page, kept from test to test: a new one takes seconds."""

    chromium: Browser
    chats: dict[str, Chat] = field(default_factory=dict)

    async def chat(self, name: str, at: str, *, fresh: bool) -> Chat:
        if not fresh and name in self.chats:
            kept = self.chats[name]
            kept.problems.clear()
            if await kept.page.evaluate(IN_USE):
                await kept.page.goto(f"{at}/?user={name}")
            return kept
        context = await self.chromium.new_context(
            viewport={"width": 1280, "height": 800}, locale="en-US", reduced_motion="reduce"
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE * MILLISECONDS)
        chat = Chat(page)
        if not fresh:
            self.chats[name] = chat

        def requested(url: str) -> None:
            if not url.startswith((at, "data:", "blob:")):
                chat.problems.append(f"asked for {url}")

        page.on("request", lambda request: requested(request.url))
        page.on("pageerror", lambda error: chat.problems.append(str(error)))

        def complained(said: ConsoleMessage) -> None:
            # a preview may be gone before it is loaded, replaced by the next
            if said.type == "error" and "/cdn/" not in said.location["url"]:
                chat.problems.append(said.text)

        page.on("console", complained)
        await page.goto(f"{at}/?user={name}")
        return chat


@pytest.fixture(scope="package")
def browsing(chromium: Browser) -> Browsing:
    return Browsing(chromium)


@pytest_asyncio.fixture(loop_scope="package")
async def open_as(browsing: Browsing, addresses: Addresses, room: str) -> AsyncIterator[Opening]:
    """Opens the page as that person, in the test's channel; `fresh`: in a window of its own.

    Whatever the page complains about in its console fails the test, and so does a request that
    leaves this computer.
    """
    chats: list[tuple[Chat, bool]] = []

    async def opening(
        name: str, *, at: str = addresses.url, channel: str | None = room, fresh: bool = False
    ) -> Chat:
        chat = await browsing.chat(name, at, fresh=fresh)
        chats.append((chat, fresh))
        if channel is not None:
            await chat.enter(channel)
        return chat

    yield opening
    for chat, fresh in chats:
        if fresh:
            await chat.page.context.close()
    assert [problem for chat, _ in chats for problem in chat.problems] == []


@pytest_asyncio.fixture(loop_scope="package")
async def chat(open_as: Opening) -> Chat:
    """Ada's page."""
    return await open_as("ada")
