"""Threads, posts, servers without the bot, galleries, and the menu on a picture."""

from __future__ import annotations

import re

import discord
from playwright.async_api import Locator, expect

from playground.control import Control, Person

from .conftest import Chat, Opening
from .scripted import PageBot


async def cells(pictures: Locator) -> list[tuple[int, int]]:
    """Column and row of each picture, by where it is seen."""
    boxes = [await picture.bounding_box() for picture in await pictures.all()]
    places = [(round(box["x"]), round(box["y"])) for box in boxes if box is not None]
    columns, rows = sorted({x for x, _ in places}), sorted({y for _, y in places})
    return [(columns.index(x), rows.index(y)) for x, y in places]


async def test_galleries(chat: Chat, ada: Person, room: str) -> None:
    square = [(0, 0), (1, 0), (0, 1), (1, 1)]
    expected = {1: [(0, 0)], 2: square[:2], 3: [(0, 0), (1, 0), (1, 1)], 4: square}
    for count, places in expected.items():
        await (await ada.command(room, "pictures", count=count)).response()
        pictures = chat.messages.nth(count - 1).locator(".picture")
        await expect(pictures).to_have_count(count)
        assert await cells(pictures) == places
    # pictures of embeds with one link, in a message that only she sees
    await (await ada.command(room, "previews")).response()
    previews = chat.messages.last
    await expect(previews).to_have_class(re.compile("ephemeral"))
    await expect(previews.locator(".embed")).to_have_count(1)
    assert await cells(previews.locator(".embed .picture")) == square


async def test_a_right_click_on_a_picture(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "pictures", count=2)).response()
    picture = chat.page.locator(".picture").nth(1)
    menu = chat.page.get_by_role("menu", name="Message")
    await picture.click(button="right")
    await expect(menu).to_contain_text("Apps")
    await expect(menu.get_by_role("menuitem", name="Open Picture")).to_be_visible()
    await chat.press("Escape")
    await expect(menu).to_have_count(0)
    await picture.click(button="right")
    await chat.page.locator(".topbar h2").click()
    await expect(menu).to_have_count(0)
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    # by keyboard alone
    more = chat.messages.first.get_by_role("button", name="More")
    await more.focus()
    await chat.press("Enter", "ArrowUp", "ArrowUp")
    await expect(menu.get_by_role("menuitem", name="Describe")).to_be_focused()
    await chat.press("Escape")
    await expect(more).to_be_focused()
    await picture.click(button="right")
    await menu.get_by_role("menuitem", name="Describe").click()
    await expect(chat.message("It says:")).to_contain_text("used Describe")


async def test_a_thread(chat: Chat, ada: Person, bo: Person, room: str) -> None:
    said = await bo.say(room, "look")
    await chat.message("look").click(button="right")
    await chat.page.get_by_role("menuitem", name="Create Thread").click()
    await chat.keys(f"about {room}")
    await chat.press("Enter")
    await expect(chat.page.locator(".topbar h2")).to_have_text(f"about {room}")
    await expect(chat.message("look").locator(".author")).to_have_text("Bo")
    await expect(chat.page.locator(".reply-line")).to_have_count(0)
    await (await ada.command(said["id"], "say", text="in the thread")).response()
    await expect(chat.message("in the thread")).to_be_visible()
    await chat.page.locator(".topbar .crumb").click()
    await expect(chat.page.locator(".topbar h2")).to_have_text(room)
    await expect(chat.message("in the thread")).to_have_count(0)
    await chat.messages.first.get_by_role("button", name=f"Thread about {room}").click()
    await expect(chat.message("in the thread")).to_be_visible()


async def test_a_forum(chat: Chat, ada: Person, bo: Person, control: Control, room: str) -> None:
    guild = (await ada.state())["guilds"][0]["id"]
    forum = await control.add_channel(guild, f"forum-{room}", forum=True, tags=["wip"])
    await bo.post(forum["id"], "A lighthouse", "first try", tags=[forum["available_tags"][0]["id"]])
    await chat.page.get_by_role("button", name=f"Forum forum-{room}").click()
    post = chat.page.locator(".post")
    await expect(post).to_contain_text("A lighthouse")
    await expect(post).to_contain_text("wip")
    await expect(chat.composer).to_be_hidden()
    await chat.button("New Post").click()
    await chat.keys("A fox")
    await chat.press("Tab")
    await chat.keys("at dusk")
    await chat.page.get_by_role("dialog").get_by_role("button", name="Create").click()
    await expect(chat.message("at dusk")).to_be_visible()
    await chat.page.get_by_role("button", name="Thread A lighthouse").first.click()
    await expect(chat.message("first try")).to_be_visible()


async def test_an_app_of_ones_own(
    open_as: Opening, bo: Person, control: Control, room: str
) -> None:
    chat = await open_as("bo", fresh=True)
    await chat.page.locator(".member-name", has_text="Darkroom").click()
    await chat.page.get_by_role("menuitem", name="Add to My Apps").click()
    await expect(chat.page.locator(".toast")).to_contain_text("come along")
    name = f"Elsewhere {room}"
    guild = await control.add_guild(name, "bo", bot=False)
    await chat.page.get_by_role("button", name=name).click()
    await expect(chat.page.locator(".members")).not_to_contain_text("Darkroom")
    await chat.keys("/say")
    await expect(chat.suggestions.first).to_contain_text("/say")
    await chat.page.locator(".topbar h2").click()
    await expect(chat.suggestions).to_have_count(0)
    await (await bo.command(guild["channels"][0]["id"], "say", text="from afar")).response()
    await expect(chat.message("from afar")).to_contain_text("used /say")
    await bo.install_app(remove=True)
    await chat.composer.fill("/")
    await expect(chat.suggestions).to_have_count(0)
    # a direct message of two people
    await chat.page.locator(".rail").get_by_role("button", name="Darkroom").click()
    await chat.page.locator(".member-name", has_text="Ada").click()
    await chat.page.get_by_role("menuitem", name="Message").click()
    await expect(chat.page.locator(".topbar h2")).to_have_text("Ada")


async def test_what_the_bot_does_stands_below_its_name(chat: Chat, bot: PageBot) -> None:
    said = "12 wait · a checkpoint with a name that is rather long"
    await bot.change_presence(activity=discord.CustomActivity(said))
    row = chat.page.locator(".members .member").filter(has_text="Darkroom")
    activity = row.locator(".activity")
    await expect(activity).to_have_text(said)
    name = row.locator(".member-name")
    above, below = await name.bounding_box(), await activity.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] <= below["y"]
    # the name is shown in full, and nothing leaves the list
    assert await name.evaluate("node => node.scrollWidth <= node.clientWidth")
    members = chat.page.locator(".members")
    assert await members.evaluate("node => node.scrollWidth <= node.clientWidth")
    await bot.change_presence()
    await expect(activity).to_have_count(0)
