"""The browser that the tests need; without one they are skipped with a reason, or fail in CI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.browser.stage import Stage, chromium, stage

MISSING = "no browser: apt-get install chromium-headless-shell, or name one in CHROMIUM"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if chromium():
        return
    if os.environ.get("CI"):
        raise pytest.UsageError(MISSING)
    for item in items:
        item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def staged() -> AsyncIterator[Stage]:
    async with stage(speed=2) as staged:
        yield staged


@pytest_asyncio.fixture(loop_scope="module")
async def page(staged: Stage) -> AsyncIterator[Page]:
    page = await staged.browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else 0)
    await page.goto(staged.address)
    yield page
    await page.close()
    assert wrong == []
