"""A browser with the page, over a deployment with a scripted model.

This needs nothing but playwright: the deployment and the page's process run on the
project's own Python. The browser is Debian's chromium-headless-shell, or CHROMIUM.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from local.scripted.upstream import ScriptedUpstream
from tests.browser.scenes import BOOK_TABLE, shop

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


def chromium() -> str:
    """Return the browser's path; empty if there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or ""


@dataclass
class Stage:
    """Browser, page, deployment and model."""

    browser: Browser
    address: str
    model: ScriptedUpstream
    left: list[bytes] = field(default_factory=list)
    """The first line of each request that the browser sent to another host."""

    def messages(self, number: int = -1) -> list[dict[str, Any]]:
        """Return the history that the model got."""
        messages: list[dict[str, Any]] = self.model.requests[number].json["messages"]
        return messages


@asynccontextmanager
async def stage(*, speed: float = 1.0) -> AsyncIterator[Stage]:
    """Start everything; record what the browser sends to other machines."""
    left: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.append(await reader.readline())
        writer.close()

    proxy = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    async with (
        proxy,
        ScriptedUpstream(shop) as model,
        _talk(model.base_url, speed) as address,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(
            executable_path=chromium(),
            # Chromium uses a proxy for all hosts but this one.
            args=[f"--proxy-server=http://127.0.0.1:{port}"],
        )
        try:
            yield Stage(browser, address, model, left)
        finally:
            await browser.close()


@asynccontextmanager
async def _talk(upstream: str, speed: float) -> AsyncIterator[str]:
    env = {**os.environ, "UPSTREAM": upstream, "TALK_SPEED": str(speed)}
    for name in ("TALK_URL", "TALK_KEY", "TALK_MODEL", "TALK_PORT", "PARAMETERS"):
        env.pop(name, None)
    process = await asyncio.create_subprocess_exec(
        str(PYTHON), "-m", "ops.talk", cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        said = (await process.stdout.readline()).decode()
        assert said.startswith("talk http://127.0.0.1:"), said
        yield said.split()[1]
    finally:
        process.terminate()
        await process.wait()


async def begin(
    page: Page,
    *,
    system: Sequence[str] = ("end_call",),
    result: Any = None,
    language: str = "",
    api_type: str = "chat_completions",
) -> None:
    """Fill in the agent's form and begin a call."""
    await page.locator("#agent > summary").click()
    for box in await page.locator("#system_tools input").all():
        await box.set_checked(await box.input_value() in system)
    await page.locator("#language").select_option(language)
    await page.locator("#api_type").select_option(api_type)
    tool = BOOK_TABLE | ({} if result is None else {"result": result})
    await page.locator("#tools").fill(json.dumps([tool]))
    await page.get_by_role("button", name="Begin a new call").click()
    await expect(page.locator("#settings")).to_be_hidden()
    await expect(page.locator("article")).to_have_count(0)


async def say(page: Page, text: str) -> None:
    """Type something and press Enter."""
    await page.locator("#text").fill(text)
    await page.locator("#text").press("Enter")


async def over(page: Page, number: int) -> None:
    """Wait until a turn is over."""
    await expect(page.locator(f"#turn-{number}")).to_have_attribute("data-live", "false")
