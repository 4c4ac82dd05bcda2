"""The README's picture of the page: `python -m tests.browser.screenshot docs/talk.png`."""

from __future__ import annotations

import asyncio
import sys

from playwright.async_api import expect

from tests.browser.stage import begin, over, say, stage


async def main(file: str) -> None:
    """Make the call that the README shows, and take its picture."""
    async with stage() as staged:
        page = await staged.browser.new_page(viewport={"width": 940, "height": 700})
        await page.goto(staged.address)
        await begin(page, result={"ok": True})
        await say(page, "Are you open today?")
        await over(page, 1)
        await say(page, "What are your hours, day by day?")
        await expect(page.locator("#turn-2 .said")).to_contain_text("close")
        await say(page, "Book a table for Friday at ten.")
        await over(page, 4)
        await page.locator("#text").blur()
        await page.screenshot(path=file, full_page=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
