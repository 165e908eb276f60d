"""Slash commands, typed as a person types them."""

from __future__ import annotations

import asyncio
import base64
import io

from PIL import Image
from playwright.async_api import expect

from playground.control import Control, Person
from tests.patience import PATIENCE

from .conftest import Chat, Opening
from .scripted import PageBot


def small_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), "navy").save(buffer, "PNG")
    return buffer.getvalue()


async def test_a_command_from_the_slash_to_the_pictures(
    chat: Chat, bot: PageBot, room: str
) -> None:
    bot.hold()
    await chat.keys("/ima")
    await expect(chat.suggestions).to_have_count(1)
    await expect(chat.suggestions).to_contain_text("/imagine")
    await expect(chat.suggestions).to_contain_text("Makes pictures from words")
    await chat.press("Tab")
    await expect(chat.page.locator(".command-name")).to_have_text("imagine")
    await expect(chat.pill("prompt").locator(".pill-value")).to_be_focused()
    await chat.keys("a red fox")

    # the options that are left, then one of them with autocomplete
    await chat.press("Tab")
    await expect(chat.suggestions).to_have_count(6)
    await chat.keys("mod")
    await expect(chat.suggestions).to_have_count(1)
    await chat.press("Enter")
    await expect(chat.pill("model").locator(".pill-value")).to_be_focused()
    await expect(chat.suggestions).to_have_count(4)
    await chat.keys("du")
    await expect(chat.suggestions).to_have_count(1)
    await expect(chat.suggestions).to_have_text(["Dusk"])
    await chat.press("Enter")
    await expect(chat.pill("model")).to_contain_text("Dusk")

    await chat.keys("steps:7")
    await expect(chat.pill("steps").locator(".pill-value")).to_have_text("7")
    await chat.press("Enter")

    # the composer is empty again, the answer is on its way
    await expect(chat.composer).to_be_focused()
    await expect(chat.composer).to_have_value("")
    answer = chat.messages.last
    await expect(answer).to_contain_text("Ada used /imagine")
    await expect(answer).to_contain_text("Darkroom is thinking…")
    bot.go_on()
    await expect(answer).to_contain_text("25 % a red fox")
    await expect(answer.locator(".picture img")).to_have_count(1)
    preview = await answer.locator(".picture img").get_attribute("src")
    bot.go_on()
    await expect(answer).to_contain_text("75 %")
    await expect(answer.locator(".picture img")).not_to_have_attribute("src", preview or "")
    bot.go_on()
    await expect(answer).to_contain_text("a red fox with dusk in 7 steps")
    await expect(answer.locator(".gallery-4 .picture img")).to_have_count(4)
    await expect(answer.locator(".app-badge")).to_have_text("APP")
    loaded = "images => images.every(i => i.complete && i.naturalWidth === 320)"
    await chat.page.wait_for_function(
        f"({loaded})([...document.querySelectorAll('.gallery-4 img')])"
    )


async def test_a_wrong_value_is_marked_and_not_sent(chat: Chat, control: Control) -> None:
    await chat.keys("/imagine ")
    await chat.press("Enter")
    await expect(chat.pill("prompt")).to_have_class("pill bad")
    await expect(chat.page.locator(".suggest")).to_contain_text("This option is required")
    await chat.keys("a cat steps:99")
    await chat.press("Enter")
    await expect(chat.pill("steps")).to_have_class("pill bad")
    await expect(chat.page.locator(".suggest")).to_contain_text("Enter a number from 1 to 50.")
    await expect(chat.pill("prompt")).to_have_class("pill")
    await expect(chat.messages).to_have_count(0)
    await chat.press("Backspace", "Backspace")
    await chat.keys("5")
    await expect(chat.pill("steps")).to_have_class("pill")
    await chat.press("Enter")
    await expect(chat.messages).to_have_count(1)


async def test_a_command_pasted_as_text_becomes_pills(chat: Chat) -> None:
    await chat.composer.fill("/say text: hello there style: loud")
    await expect(chat.pill("text").locator(".pill-value")).to_have_text("hello there")
    await expect(chat.pill("style").locator(".pill-value")).to_have_text("loud")
    await expect(chat.suggestions).to_have_text(["loud"])
    await chat.press("Tab", "Enter")
    await expect(chat.message("HELLO THERE")).to_contain_text("Ada used /say")


async def test_choices_are_offered_and_nothing_else_is_taken(chat: Chat) -> None:
    await chat.keys("/say hey style:")
    await expect(chat.suggestions).to_have_text(["loud", "quiet"])
    await chat.press("ArrowDown", "Enter")
    await expect(chat.pill("style")).to_contain_text("quiet")
    await chat.press("Shift+Tab")
    await chat.keys("x")
    await expect(chat.suggestions).to_have_count(0)
    await chat.press("Enter")
    await expect(chat.pill("style")).to_have_class("pill bad")
    await expect(chat.messages).to_have_count(0)


async def test_a_file_a_person_and_a_switch(chat: Chat) -> None:
    await chat.keys("/imagine a boat source:")
    picture = {"name": "boat.png", "mimeType": "image/png", "buffer": small_png()}
    await chat.pill("source").locator("input[type=file]").set_input_files(picture)  # type: ignore[arg-type]
    await expect(chat.pill("source")).to_contain_text("boat.png")
    await chat.press("Tab")
    await chat.keys("friend:b")
    await expect(chat.suggestions).to_have_text(["@Bo" + "bo"])
    await chat.press("Enter")
    await chat.keys("hires:")
    await expect(chat.suggestions).to_have_text(["True", "False"])
    await chat.press("Enter")
    await chat.keys("count:1")
    await expect(chat.pill("source").locator(".uploading")).to_have_count(0)
    await chat.press("Enter")
    answer = chat.message("from boat.png 24×16")
    await expect(answer).to_contain_text("large")
    await expect(answer.locator(".mention")).to_have_text("@Bo")


async def test_a_pasted_picture_goes_to_the_option_that_takes_one(chat: Chat) -> None:
    await chat.keys("/imagine a boat")
    data = base64.b64encode(small_png()).decode()
    await chat.page.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
            document.activeElement.dispatchEvent(new ClipboardEvent(
                "paste", {clipboardData: transfer, bubbles: true, cancelable: true}));
        }""",
        data,
    )
    await expect(chat.pill("source")).to_contain_text("pasted.png")
    await expect(chat.pill("prompt").locator(".pill-value")).to_have_text("a boat")


async def test_sub_commands_and_escape(chat: Chat) -> None:
    await chat.keys("/lib")
    await expect(chat.suggestions).to_have_count(2)
    await expect(chat.suggestions.first).to_contain_text("/library models")
    await chat.press("Escape")
    await expect(chat.suggestions).to_have_count(0)
    await chat.keys("rary models page:2")
    await expect(chat.page.locator(".command-name")).to_have_text("library models")
    await chat.press("Enter")
    await expect(chat.message("models, page 2")).to_contain_text("used /library models")
    await chat.keys("/library styles ")
    await chat.press("Escape", "Escape")
    await expect(chat.composer).to_have_value("/library styles")


async def test_age_restricted_commands_show_only_where_they_work(chat: Chat) -> None:
    await chat.keys("/adult")
    await expect(chat.page.locator(".suggest-note")).to_have_text("No command of that name")
    await chat.enter("after-dark")
    await chat.keys("/adult")
    await expect(chat.suggestions).to_have_count(1)


async def test_names_in_the_language_of_the_person(
    control: Control, ada: Person, open_as: Opening
) -> None:
    guild = (await ada.state())["guilds"][0]["id"]
    await control.change_member(guild, "cy", locale="de")
    chat = await open_as("cy")
    await chat.keys("/erst")
    await expect(chat.suggestions).to_contain_text(["/erstelle"])
    await expect(chat.suggestions).to_contain_text("Macht Bilder aus Worten")
    await chat.press("Tab")
    await expect(chat.pill("prompt").locator(".pill-name")).to_have_text("text")


async def test_a_command_that_is_not_answered(chat: Chat, control: Control) -> None:
    await chat.keys("/silence ")
    await chat.press("Enter")
    await expect(chat.messages.last).to_contain_text("Sending command…")
    await control.clock(4)
    failed = chat.messages.last
    await expect(failed).to_contain_text("did not respond within 3 seconds")
    await expect(failed).to_contain_text("Only you can see this")
    await failed.get_by_role("button", name="Dismiss message").click()
    await expect(chat.messages).to_have_count(0)


async def test_an_answer_that_never_comes(chat: Chat, control: Control, bot: PageBot) -> None:
    bot.hold()
    await chat.keys("/imagine a cat")
    await chat.press("Enter")
    await expect(chat.messages).to_contain_text(["thinking"])
    await control.clock(16 * 60)
    await expect(chat.messages).to_contain_text(["The application did not respond"])
    await expect(chat.messages).not_to_contain_text(["thinking"])


async def test_a_refused_command_stays_to_be_changed(
    chat: Chat, control: Control, ada: Person, bo: Person, open_as: Opening, room: str
) -> None:
    other = await open_as("bo")
    await other.keys("/say text:hello")
    guild = (await ada.state())["guilds"][0]["id"]
    place = await ada.channel(room)
    # USE_APPLICATION_COMMANDS is taken away, which his page hears only after he has sent it
    await other.page.route("**/control/state*", lambda route: route.abort())
    await control.overwrite(place, guild, deny=1 << 31)
    await other.press("Enter")
    await expect(other.page.locator(".suggest")).to_contain_text("may not use application commands")
    await expect(other.pill("text").locator(".pill-value")).to_have_text("hello")
    await other.page.unroute("**/control/state*")
    other.problems.clear()


async def test_choices_are_asked_for_after_a_pause(chat: Chat, bot: PageBot) -> None:
    await chat.keys("/imagine a cat model:")
    await expect(chat.suggestions).to_have_count(4)
    bot.asked.clear()
    await chat.keys("dusk")
    async with asyncio.timeout(PATIENCE):
        while "dusk" not in bot.asked:
            await asyncio.sleep(0.02)
    await expect(chat.suggestions).to_have_text(["Dusk"])
    assert len(bot.asked) < 4  # not one for each letter
