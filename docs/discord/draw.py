"""Draws the pictures of docs/discord.md from drawings.html, in a headless Chromium."""

import asyncio
from pathlib import Path

from playwright.async_api import async_playwright

from tests.browser import find

FOLDER = Path(__file__).resolve().parent


async def main() -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find())
        page = await browser.new_page(viewport={"width": 900, "height": 600})
        await page.goto((FOLDER / "drawings.html").as_uri())
        for section in await page.query_selector_all("section"):
            name = await section.get_attribute("id")
            await section.screenshot(path=FOLDER / f"{name}.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
