"""Messages, reactions, people and channels."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest
from playwright.async_api import WebSocketRoute, expect

from playground.control import Control, Person
from playground.process import local_discord
from tests.patience import PATIENCE

from .conftest import Chat, Opening
from .scripted import PageBot


async def test_what_people_write_is_never_markup(
    chat: Chat, ada: Person, bo: Person, room: str
) -> None:
    evil = "<img src=x onerror=\"document.title = 'taken'\"> <script>alert(1)</script> <b>b</b>"
    await bo.say(room, evil)
    await bo.say(room, f"**{evil}** ||{evil}|| `{evil}` > {evil}")
    await bo.say(room, "[press](javascript:alert(1)) [go](https://example.org/?<b>)")
    await (await ada.command(room, "say", text=f"# {evil}")).response()
    await expect(chat.messages).to_have_count(4)
    await expect(chat.messages.first.locator(".markdown")).to_have_text(evil)
    await expect(chat.page.locator(".messages img, .messages script, .messages b")).to_have_count(0)
    await expect(chat.page.locator("a[href^='javascript']")).to_have_count(0)
    await expect(chat.messages.nth(2)).to_contain_text("[press](javascript:alert(1))")
    assert "taken" not in await chat.page.title()


async def test_markdown(chat: Chat, bo: Person, room: str) -> None:
    text = (
        "# Big\n**bold** *thin* __under__ ~~gone~~ `code` ***both*** snake_case_name\n"
        "> quoted\n- one\n- two\n  - deep\n1. first\n```py\nx = '**no**'\n```\n-# small\n"
        "https://example.org/a_b_c. [words](https://example.org/w) \\*plain\\* <t:86400:D>"
    )
    await bo.say(room, text)
    message = chat.messages.first
    await expect(message.get_by_role("heading", name="Big")).to_be_visible()
    shown = {
        "strong": ["bold", "both"],
        "em": ["thin", "both"],
        "u": ["under"],
        "s": ["gone"],
        ".md-code": ["code"],
        "blockquote": ["quoted"],
        "pre": ["x = '**no**'"],
        ".md-sub": ["small"],
        "ol > li": ["first"],
        "ul ul > li": ["deep"],
        "a": ["https://example.org/a_b_c", "words"],
        "time[datetime='1970-01-02T00:00:00.000Z']": [re.compile(r"January \d, 1970")],
    }
    for selector, texts in shown.items():
        await expect(message.locator(f".markdown {selector}")).to_have_text(texts)  # type: ignore[arg-type]
    await expect(message).to_contain_text("snake_case_name")
    await expect(message).to_contain_text("*plain*")


async def test_messages_of_one_person_are_grouped(chat: Chat, bo: Person, room: str) -> None:
    await bo.say(room, "one")
    await bo.say(room, "two")
    await chat.keys("three")
    await chat.press("Shift+Enter")
    await chat.keys("still three")
    await chat.press("Enter")
    await expect(chat.message("still three").locator(".author")).to_have_text("Ada")
    await expect(chat.messages).to_have_count(3)
    await expect(chat.message("one").locator(".author")).to_have_text("Bo")
    await expect(chat.message("two").locator(".author")).to_have_count(0)


async def test_reactions_both_ways(
    chat: Chat, ada: Person, bo: Person, bot: PageBot, room: str
) -> None:
    line = await bo.say(room, "like it?")
    message = chat.message("like it?")
    await message.hover()
    await message.get_by_role("button", name="Add reaction").first.click()
    await (
        chat.page.get_by_role("dialog", name="Add a reaction")
        .get_by_role("button", name="👍", exact=True)
        .click()
    )
    thumb = message.locator(".reaction[data-emoji='👍']")
    await expect(thumb).to_have_attribute("aria-pressed", "true")
    await expect(thumb).to_contain_text("1")
    # the bot answers it with a star, which anybody may join and leave
    star = message.locator(".reaction[data-emoji='⭐']")
    await expect(star).to_have_attribute("aria-pressed", "false")
    assert bot.reactions == [("add", "👍")]
    await bo.react(line, "⭐")
    await expect(star).to_contain_text("2")
    await star.click()
    await expect(star).to_contain_text("3")
    await expect(star).to_have_attribute("aria-pressed", "true")
    await star.click()
    await expect(star).to_contain_text("2")
    await expect(star).to_have_attribute("aria-pressed", "false")
    await thumb.click()
    await expect(thumb).to_have_count(0)
    async with asyncio.timeout(PATIENCE):
        while bot.reactions[-1] != ("remove", "👍"):
            await asyncio.sleep(0.02)


async def test_replies_and_deletion(chat: Chat, bo: Person, room: str) -> None:
    await bo.say(room, "a **question**")
    question = chat.message("a question")
    await question.hover()
    await question.get_by_role("button", name="Reply").click()
    await expect(chat.page.locator(".reply-bar")).to_contain_text("Replying to Bo")
    await chat.keys("an answer")
    await chat.press("Enter")
    answer = chat.message("an answer")
    await expect(answer.locator(".reply-line")).to_contain_text("a question")
    await expect(chat.page.locator(".reply-bar")).to_be_hidden()
    await question.first.hover()
    await question.first.get_by_role("button", name="More").click()
    await chat.page.get_by_role("menuitem", name="Delete Message").click()
    await expect(chat.messages).to_have_count(1)


@pytest.mark.slow
async def test_being_somebody_else(open_as: Opening, ada: Person, room: str) -> None:
    chat = await open_as("ada", fresh=True)
    await (await ada.command(room, "whisper")).response()
    await expect(chat.message("psst")).to_be_visible()
    await chat.page.get_by_role("button", name=re.compile("You are Ada")).click()
    await chat.page.get_by_role("menuitem", name="Bo").click()
    await expect(chat.page.get_by_role("button", name=re.compile("You are Bo"))).to_be_visible()
    await chat.enter(room)
    await chat.keys("it is me")
    await chat.press("Enter")
    await expect(chat.message("it is me").locator(".author")).to_have_text("Bo")
    await expect(chat.message("psst")).to_have_count(0)


async def test_unread_channels_are_marked(chat: Chat, bo: Person, room: str) -> None:
    await chat.enter("pictures")
    unread = chat.page.get_by_role("button", name=f"Channel {room}, unread", exact=True)
    await expect(unread).to_have_count(0)
    await bo.say(room, "psst, over here")
    await expect(unread).to_be_visible()
    await unread.click()
    await expect(chat.message("over here")).to_be_visible()
    await expect(unread).to_have_count(0)


async def test_older_messages_come_when_scrolling_up(
    open_as: Opening, bo: Person, room: str
) -> None:
    for number in range(70):
        await bo.say(room, f"line {number}.")
    chat = await open_as("ada", channel=None)
    await chat.enter_unseen(room)
    await expect(chat.message("line 69.")).to_be_in_viewport()
    await expect(chat.messages).to_have_count(50)
    scroller = chat.page.locator(".scroller")
    await scroller.evaluate("node => { node.scrollTop = 0; }")
    await expect(chat.messages).to_have_count(70)
    # what one was reading stays where it was
    await expect(chat.message("line 20.")).to_be_in_viewport()
    await bo.say(room, "the newest")
    await expect(chat.page.get_by_role("button", name="New messages")).to_be_visible()
    await expect(chat.message("the newest")).not_to_be_in_viewport()
    await expect(chat.messages).to_have_count(71)
    await chat.page.get_by_role("button", name="New messages").click()
    await expect(chat.message("the newest")).to_be_in_viewport()


async def test_a_direct_message_to_the_bot(open_as: Opening) -> None:
    chat = await open_as("ada", fresh=True)
    await chat.page.get_by_role("button", name="Direct message with Darkroom").first.click()
    await expect(chat.composer).to_have_attribute("placeholder", "Message @Darkroom")
    await chat.keys("/say between us")
    await chat.press("Enter")
    await expect(chat.message("between us")).to_contain_text("Ada used /say")


async def test_files_of_a_message(chat: Chat, ada: Person, room: str) -> None:
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    await chat.page.locator(".composer > input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    await expect(chat.page.locator(".tray")).to_contain_text("notes.txt")
    await chat.composer.press("Enter")
    await expect(chat.page.locator(".file-card")).to_contain_text("notes.txt")
    await expect(chat.page.locator(".tray")).to_be_hidden()
    [message] = await ada.messages(room)
    assert [a["filename"] for a in message["attachments"]] == ["notes.txt"]


async def test_without_a_bot_the_page_says_so(open_as: Opening) -> None:
    async with local_discord() as empty:
        chat = await open_as("bo", at=empty.url, channel=None, fresh=True)
        await expect(chat.page.locator(".hint")).to_contain_text("No bot is connected.")
        await expect(chat.page.locator(".hint")).to_contain_text(f"{empty.url}/api")
        bots = chat.page.locator(".members .member").filter(has_text="Darkroom")
        await expect(bots.locator(".status")).to_have_attribute("title", "Offline")
        await chat.keys("/")
        await expect(chat.page.locator(".suggest")).to_contain_text("registered no commands")
        await chat.page.close()  # before it misses the server


@pytest.mark.slow
async def test_other_people_say_who_they_are(open_as: Opening) -> None:
    async with local_discord("--users", "eve,fay") as theirs:
        chat = await open_as("ada", at=theirs.url, channel=None, fresh=True)
        await expect(chat.page.locator(".who")).to_contain_text("Nobody here is called ada.")
        await chat.keys("grace")
        await chat.press("Enter")
        await expect(chat.page.locator(".who")).to_contain_text("Nobody here is called grace.")
        await chat.keys(" fay")
        await chat.button("Come in").click()
        await expect(chat.composer).to_be_visible()
        await expect(chat.page).to_have_title("fay · Local Discord")
        # the browser itself reports each name that is not known
        assert all("404 (Not Found)" in problem for problem in chat.problems)
        assert len(chat.problems) == 3
        chat.problems.clear()
        await chat.page.close()  # before it misses the server


@pytest.mark.slow
async def test_a_lost_connection_is_made_again(open_as: Opening, bo: Person, room: str) -> None:
    sockets: list[WebSocketRoute] = []
    refusing = False

    def connect(socket: WebSocketRoute) -> None:
        if not refusing:  # the first attempt to come back fails
            socket.connect_to_server()
        sockets.append(socket)

    chat = await open_as("ada", channel=None, fresh=True)
    await chat.page.route_web_socket(re.compile("/control/events"), connect)
    await chat.page.reload()
    await chat.enter(room)
    hint = chat.page.locator(".hint")
    await expect(hint).to_be_hidden()
    refusing, known = True, len(sockets)
    await sockets[-1].close(code=1011)
    await expect(hint).to_contain_text("connection to the local Discord is lost")
    await bo.say(room, "while you were away")
    async with asyncio.timeout(PATIENCE):
        while len(sockets) == known:
            await asyncio.sleep(0.05)
    refusing = False
    await sockets[-1].close(code=1011)
    await expect(chat.message("while you were away")).to_be_visible()
    await expect(hint).to_be_hidden()


async def test_a_narrow_window(open_as: Opening, ada: Person, room: str) -> None:
    chat = await open_as("ada", fresh=True)
    await chat.page.set_viewport_size({"width": 400, "height": 800})
    await (await ada.command(room, "pictures", count=4)).response()
    await expect(chat.page.locator(".gallery .picture").first).to_be_in_viewport()
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not await chat.page.evaluate(wide)
    channel = chat.page.get_by_role("button", name="Channel pictures")
    await expect(channel).not_to_be_in_viewport()
    await chat.button("Show channels").click()
    await channel.click()
    await expect(chat.page.locator(".topbar h2")).to_have_text("pictures")
    await expect(channel).not_to_be_in_viewport()


async def test_everything_is_served_from_here(chat: Chat, control: Control) -> None:
    """Each file of the page; anything from elsewhere fails every test (see `open_as`)."""
    loaded = await chat.page.evaluate(
        "performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    here = urlsplit(control.url).netloc
    assert {urlsplit(url).netloc for url in loaded} == {here}
    assert any(url.endswith("/static/js/app.js") for url in loaded)
