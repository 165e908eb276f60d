"""Takes the pictures of the local Discord that the first pages show: a bot with the demo model is
started, somebody asks it for things, and a headless Chromium looks on.

Pictures are drawn slowly for the queue's, so that there is time to look. In the project's folder:
python -m docs.start.draw [page] [start] [queue]
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from playground.control import Control
from tests.acceptance.test_processes import delivered, online
from tests.browser import find

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parent
PROJECT = DOCS.parent
PATIENCE = 300
"""Seconds."""
SETTINGS = """
[playground]
port = 0
[worker]
cpu_threads = 1
preview_every = 0.5
[models.demo]
steps = {steps}
"""


@asynccontextmanager
async def bot(steps: int = 12) -> AsyncIterator[str]:
    """A bot with nothing kept, as long as the block lasts; the address of its local Discord."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text(SETTINGS.format(steps=steps), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "--config", str(config), "run"),
            cwd=PROJECT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        try:
            async for line in process.stdout:
                if found := re.search(r"Open (http://\S+) in a browser", line.decode()):
                    yield found[1]
                    break
        finally:
            process.terminate()
            await process.wait()


async def opened(browser: Browser, address: str, width: int, height: int) -> Page:
    """The page, as Ada sees it."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        locale="en-US",
        timezone_id="UTC",
        reduced_motion="reduce",
        device_scale_factor=1.5,
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    await page.goto(f"{address}/?user=ada")
    return page


async def answer(browser: Browser, address: str) -> None:
    """page.png: four pictures, their buttons, and who is there."""
    async with Control(address) as control:
        ada = await control.person("ada")
        await online(ada)
        channel = await ada.channel("general")
        # what the bot says when it comes stands above
        page = await opened(browser, address, 1180, 1200)
        await page.get_by_text("Hello! I draw what you describe").wait_for()
        act = await ada.command(channel, "imagine", prompt="a penguin on light blue", count=4)
        message = await act.deferred()
        await delivered(ada, channel, message, count=4)
        await page.locator(".reaction[data-emoji='❌']").wait_for()
        # within fifteen seconds the list of members says what the bot does
        await page.locator(".activity", has_text=re.compile("^demo$")).wait_for()
        await page.screenshot(path=DOCS / "page.png")


async def queue(browser: Browser, address: str) -> None:
    """queue.png: a request that is drawn, one that waits, and what /queue says."""
    async with Control(address) as control:
        ada, bo = await control.person("ada"), await control.person("bo")
        await online(ada)
        channel = await ada.channel("pictures")
        page = await opened(browser, address, 1000, 700)
        await page.get_by_role("button", name=re.compile("hannel pictures")).click()
        await (await bo.command(channel, "imagine", prompt="a red fox", count=4)).deferred()
        await (await ada.command(channel, "imagine", prompt="a big panda on pink")).deferred()
        await page.locator(".picture img").first.wait_for()
        await page.locator(".activity", has_text="wait").wait_for()
        await (await ada.command(channel, "queue")).response()
        await asyncio.sleep(1)
        await page.screenshot(path=FOLDER / "queue.png")


async def models(browser: Browser, address: str) -> None:
    """models.png and preset.png: what is there, and the panel of a preset."""
    async with Control(address) as control:
        ada = await control.person("ada")
        await online(ada)
        for channel, name, words, file in (
            ("general", "models", {}, "models.png"),
            ("pictures", "preset create", {"name": "soft"}, "preset.png"),
        ):
            page = await opened(browser, address, 900, 900)
            await page.get_by_role("button", name=re.compile(f"hannel {channel}")).click()
            await (await ada.command(await ada.channel(channel), name, **words)).response()
            shown = page.locator("li.message").filter(has_text="Only you can see this")
            await shown.wait_for()
            await asyncio.sleep(1)
            await shown.screenshot(path=FOLDER / file)


async def main(wanted: Sequence[str]) -> None:
    """Those that are wanted: page, start, queue; or all."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find(), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, steps, take in (
            ("page", 12, answer),
            ("start", 12, models),
            ("queue", 60, queue),
        ):
            if not wanted or name in wanted:
                async with bot(steps) as address:
                    await take(browser, address)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
