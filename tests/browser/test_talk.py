"""The page in a real browser."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.scenes import BOOKED, FAREWELL, HOURS, OPEN, WEEKEND
from tests.browser.stage import PYTHON, ROOT, Stage, begin, over, say

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_call_of_four_turns(page: Page, staged: Stage) -> None:
    """Words are in order, a slow answer follows buffer words, a tool runs, the call ends."""
    await begin(page, result={"ok": True})
    await say(page, "And on Sunday?")
    await over(page, 1)
    await expect(page.locator("#turn-1 .said")).to_have_text(WEEKEND)
    await expect(page.locator("#turn-1 .ours")).to_have_count(0)

    await say(page, "Are you open today?")
    await over(page, 2)
    said = page.locator("#turn-2 .said span")
    await expect(said.nth(0)).to_have_class("ours")
    await expect(said.nth(0)).to_contain_text("...")
    await expect(said.nth(1)).to_have_text(OPEN)
    bars = page.locator("#turn-2 .speech .bar")
    kinds = [await bar.get_attribute("class") for bar in await bars.all()]
    assert kinds == ["bar silence", "bar buffer", "bar silence", "bar answer"]

    await say(page, "Book a table for Friday at ten.")
    await over(page, 4)
    await expect(page.locator("#turn-3 .said code")).to_contain_text("book_table")
    await expect(page.locator("#turn-3 .lanes .tool")).to_have_count(1)
    await expect(page.locator("#turn-4 .caller")).to_have_text('book_table → {"ok": true}')
    await expect(page.locator("#turn-4 .said")).to_have_text(BOOKED)

    await say(page, "Thank you, bye.")
    await expect(page.locator("#over")).to_have_text("The call has ended.")
    await expect(page.locator("#turn-5 .platform")).to_contain_text(FAREWELL)
    await expect(page.locator("#text")).to_be_disabled()


@pytest.mark.parametrize("way", ["by speaking up", "by the Escape key"])
async def test_an_interruption_cuts_the_history(page: Page, staged: Stage, way: str) -> None:
    """Unheard words are struck through and not sent to the model."""
    await begin(page)
    await say(page, "What are your hours?")
    await expect(page.locator("#turn-1 .said")).to_contain_text("Mondays")
    if way == "by the Escape key":
        await page.keyboard.press("Escape")
        await over(page, 1)
    await say(page, "Stop, just the weekend please.")
    await over(page, 2)
    heard = await page.locator("#turn-1 .said span").inner_text()
    unheard = await page.locator("#turn-1 .said s").inner_text()
    assert HOURS.startswith(" ".join(f"{heard} {unheard}".split()))
    kept = [each["content"] for each in staged.messages() if each["role"] == "assistant"]
    assert kept == [heard.strip()]


async def test_language_and_api_type_are_chosen(page: Page, staged: Stage) -> None:
    """An agent with the other API and another language gets its buffer words."""
    await begin(page, language="de", api_type="responses")
    await say(page, "Are you open today?")
    await over(page, 1)
    await expect(page.locator("#where")).to_contain_text("responses · de")
    await expect(page.locator("#turn-1 .ours")).to_contain_text(re.compile("einen|mal|ich|das"))
    await expect(page.locator("#turn-1 .said")).to_contain_text(OPEN)


async def test_a_late_result_is_sent_by_hand(page: Page, staged: Stage) -> None:
    """A tool without a result waits for one from the page."""
    await begin(page)
    await say(page, "Book a table.")
    await page.get_by_label("The result of book_table").fill('{"ok": false}')
    await page.get_by_role("button", name="Send the result").click()
    await over(page, 2)
    assert json.loads(staged.messages()[-1]["content"]) == {"ok": False}


@pytest.mark.parametrize("behaviour", ["sick", "empty"])
async def test_a_model_misbehaves_on_demand(page: Page, staged: Stage, behaviour: str) -> None:
    """A button makes the model fail, the caller hears an apology, and the model can recover."""
    await begin(page)
    await page.get_by_role("button", name=behaviour).click()
    await expect(page.locator(f"[data-behaviour={behaviour}]")).to_have_attribute(
        "aria-pressed", "true"
    )
    await say(page, "Hello?")
    await over(page, 1)
    await expect(page.locator("#turn-1 .said")).to_contain_text("Sorry")
    await expect(page.locator("#turn-1 .facts")).to_contain_text(f"the model was {behaviour}")
    await page.get_by_role("button", name="well").click()
    await say(page, "Hello?")
    await over(page, 2)
    await expect(page.locator("#turn-2 .said")).to_have_text(WEEKEND)


async def test_frames_and_log_are_one_click_away(page: Page, staged: Stage) -> None:
    """Frames and log are shown byte for byte, and a reload shows the same call."""
    await begin(page)
    await say(page, "And on Sunday?")
    await over(page, 1)
    await page.reload()
    await page.locator("#turn-1 summary").click()
    await expect(page.locator("#turn-1 .inside")).to_contain_text("data: [DONE]")
    await expect(page.locator("#turn-1 .inside")).to_contain_text("turn.finished")


async def test_an_unknown_log_is_requested_once(page: Page, staged: Stage) -> None:
    """The log of a deployed URL, which has none, is requested once."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    await page.route("**/logs", lambda route: route.fulfill(json=[]))
    await begin(page)
    await say(page, "And on Sunday?")
    await over(page, 1)
    await page.locator("#turn-1 summary").click()
    await expect(page.locator("#turn-1 .inside")).to_contain_text("data: [DONE]")
    await say(page, "And on Sunday?")
    await over(page, 2)
    assert asked.count("logs") == 1


async def test_a_saved_call_is_played(page: Page, staged: Stage, tmp_path: Path) -> None:
    """`make call` plays the file that the page saves."""
    await begin(page, result={"ok": True})
    for number, text in [(1, "And on Sunday?"), (3, "Book a table for Friday."), (4, "Bye, bye.")]:
        await say(page, text)
        await over(page, number)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save this call").click()
    file = tmp_path / "saved.yaml"
    await (await download.value).save_as(file)
    assert "book_table" in file.read_text()
    played = await asyncio.create_subprocess_exec(
        str(PYTHON), "-m", "ops.call", str(file), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await played.communicate()
    assert played.returncode == 0, out.decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_is_light_or_dark(page: Page, staged: Stage, scheme: str) -> None:
    """The page follows the system's light or dark mode."""
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    colour = await page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    parts = [int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    assert (sum(parts) < 200) is (scheme == "dark")


async def test_no_request_leaves_this_machine(page: Page, staged: Stage) -> None:
    """The page asks only its own server, and the browser sends nothing elsewhere."""
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2].split(":")[0]))
    await page.reload()
    await begin(page)
    await say(page, "And on Sunday?")
    await over(page, 1)
    assert hosts == {"127.0.0.1"}
    assert staged.left == []
