"""What the bot sends and the person does with it: buttons, selects, modals, pictures."""

from __future__ import annotations

import re

from playwright.async_api import expect

from playground.control import Control, Person

from .conftest import Chat, Opening
from .scripted import PageBot


async def test_a_button_waits_for_its_answer(
    chat: Chat, ada: Person, bot: PageBot, room: str
) -> None:
    await (await ada.command(room, "card")).response()
    again = chat.custom("again")
    bot.hold()
    await again.click()
    await expect(again).to_have_attribute("aria-busy", "true")
    await expect(again).to_be_disabled()
    bot.go_on()
    answer = chat.message("again for ada")
    await expect(answer).to_be_visible()
    await expect(answer.locator(".reply-line")).to_contain_text("Darkroom")
    await expect(again).to_be_enabled()
    await expect(chat.button("Off")).to_be_disabled()
    link = chat.page.get_by_role("link", name="Help")
    await expect(link).to_have_attribute("href", "https://example.org/help")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")


async def test_a_button_that_is_not_answered(
    chat: Chat, ada: Person, bot: PageBot, room: str, control: Control
) -> None:
    await (await ada.command(room, "card")).response()
    await expect(chat.messages).to_have_count(1)
    await chat.button("Ignore").click()
    await expect(chat.button("Ignore")).to_have_attribute("aria-busy", "true")
    await expect(chat.page.locator(".failure")).to_have_count(0)
    await control.clock(4)
    await expect(chat.messages.first.locator(".failure")).to_have_text("This interaction failed")
    await chat.custom("again").click()
    await expect(chat.message("again for ada")).to_be_visible()
    await expect(chat.page.locator(".failure")).to_have_count(0)


async def test_a_select(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "card")).response()
    await chat.page.get_by_role("combobox", name="Another size").click()
    options = chat.page.get_by_role("option")
    await expect(options).to_have_count(2)
    await expect(options.first).to_contain_text("1024 × 1024")
    await chat.keys("WID")
    await expect(options).to_have_text(["🖼️Wide"])
    await chat.press("Backspace", "Backspace", "Backspace")
    await chat.keys("1024")
    await expect(options).to_have_count(1)
    await chat.keys("x")
    await expect(chat.page.locator(".select-none")).to_be_visible()
    await chat.press("Escape")
    await expect(options).to_have_count(0)
    await chat.press("Enter", "ArrowDown")
    # what is typed on an option goes into the search, too
    await expect(options.first).to_be_focused()
    await chat.keys("wi")
    await chat.press("Enter")
    await expect(chat.message("size 16:9")).to_be_visible()
    await expect(options).to_have_count(0)


async def test_a_modal(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "card")).response()
    await chat.button("Edit").click()
    modal = chat.page.get_by_role("dialog", name="Edit the prompt")
    prompt = modal.get_by_label("Prompt")
    await expect(prompt).to_be_focused()
    await expect(prompt).to_have_value("a cat")
    await prompt.fill("ab")
    await modal.get_by_role("button", name="Submit").click()
    await expect(modal).to_contain_text("3")
    await expect(modal).to_be_visible()
    await expect(chat.messages).to_have_count(1)
    await prompt.fill("a dog <b>")
    await modal.get_by_role("combobox", name="Mood").click()
    await chat.page.get_by_role("option", name="wild").click()
    picture = {"name": "dog.png", "mimeType": "image/png", "buffer": b"not quite"}
    await modal.locator("input[type=file]").set_input_files(picture)  # type: ignore[arg-type]
    await expect(modal).to_contain_text("9 bytes")
    await modal.get_by_role("button", name="Submit").click()
    await expect(chat.message("a dog <b>|wild|dog.png")).to_be_visible()
    await expect(modal).to_have_count(0)


async def test_a_modal_is_left_with_escape(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "card")).response()
    await chat.button("Edit").click()
    modal = chat.page.get_by_role("dialog", name="Edit the prompt")
    await expect(modal).to_be_visible()
    await chat.press("Escape")
    await expect(modal).to_have_count(0)
    await expect(chat.button("Edit")).to_be_focused()
    await expect(chat.messages).to_have_count(1)


async def test_only_who_asked_sees_an_ephemeral_answer(
    chat: Chat, open_as: Opening, ada: Person, room: str
) -> None:
    other = await open_as("bo")
    await chat.keys("/whisper ")
    await chat.press("Enter")
    whisper = chat.message("psst, hidden")
    await expect(whisper).to_contain_text("Only you can see this")
    await ada.say(room, "said after it")
    await expect(other.message("said after it")).to_be_visible()
    await expect(other.message("psst")).to_have_count(0)
    await whisper.get_by_role("button", name="Dismiss message").click()
    await expect(whisper).to_have_count(0)
    await expect(chat.message("said after it")).to_be_visible()


async def test_spoilers_show_when_pressed(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "veiled")).response()
    picture = chat.page.locator(".picture")
    image = picture.locator("img")
    await expect(image).to_have_css("filter", re.compile("blur"))
    await picture.click()
    await expect(image).not_to_have_css("filter", re.compile("blur"))
    await expect(chat.page.locator(".lightbox")).to_have_count(0)
    text = chat.page.get_by_text("the plot")
    await expect(text).to_be_hidden()
    await chat.page.locator(".spoiler").click()
    await expect(text).to_be_visible()


async def test_pictures_open_large(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "pictures", count=3)).response()
    pictures = chat.page.locator(".gallery-3 .picture")
    await expect(pictures).to_have_count(3)
    await pictures.nth(1).click()
    box = chat.page.get_by_role("dialog", name="Picture")
    await expect(box).to_contain_text("picture-2.png · 320 × 320")
    await chat.press("ArrowRight")
    await expect(box).to_contain_text("picture-3.png")
    await chat.press("ArrowRight")
    await expect(box).to_contain_text("picture-1.png")
    await chat.press("Escape")
    await expect(box).to_have_count(0)
    await expect(pictures.nth(1)).to_be_focused()


async def test_ten_pictures_are_one_gallery(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "pictures", count=10)).response()
    pictures = chat.page.locator(".gallery-10 .picture")
    await expect(pictures).to_have_count(10)
    gallery = await chat.page.locator(".gallery").bounding_box()
    assert gallery is not None
    for index in range(10):
        box = await pictures.nth(index).bounding_box()
        assert box is not None
        assert box["width"] > 100
        assert box["x"] + box["width"] <= gallery["x"] + gallery["width"] + 1


async def test_an_embed(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "card")).response()
    card = chat.page.locator(".embed")
    await expect(card.get_by_role("link", name="Queue")).to_have_attribute(
        "href", "https://example.org/"
    )
    await expect(card.locator("strong")).to_have_text("2")
    await expect(card.locator(".embed-field")).to_have_text(["Runninga cat", "Waitinga dog"])
    await expect(card.locator("img")).to_have_count(1)
    await expect(card).to_have_css("border-left-color", "rgb(200, 69, 59)")
    await expect(chat.page.locator(".attachments")).to_have_count(0)


async def test_a_layout_of_components(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "sheet")).response()
    box = chat.page.locator(".v2-container")
    await expect(box.get_by_role("heading", name="A sheet")).to_be_visible()
    await expect(box.locator("strong")).to_have_text("one")
    await expect(box.get_by_role("link", name="Open")).to_be_visible()
    await expect(box.locator(".v2-separator")).to_have_count(1)
    await expect(box.locator(".picture img")).to_have_attribute("alt", "a sheet")
    await expect(chat.page.locator(".picture")).to_have_count(1)


async def test_another_file_is_a_card(chat: Chat, ada: Person, room: str) -> None:
    await (await ada.command(room, "library styles")).response()
    card = chat.page.locator(".file-card")
    await expect(card).to_contain_text("all.json")
    await expect(card).to_contain_text("1 bytes")


async def test_context_menus(chat: Chat, ada: Person, room: str) -> None:
    await ada.say(room, "a line")
    line = chat.message("a line").first
    await line.click(button="right")
    await chat.page.get_by_role("menuitem", name="Describe").click()
    await expect(chat.message("It says: a line")).to_contain_text("used Describe")
    await line.locator(".author").click()
    await chat.page.get_by_role("menuitem", name="Gallery of").click()
    await expect(chat.message("Pictures of ada")).to_be_visible()
