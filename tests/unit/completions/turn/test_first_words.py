"""The wait for first words: the timers run beside it and add no hand-over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from completions.dialects.deltas import Chunk, Text
from completions.turn.first_words import START_AFTER_S, FirstWords
from completions.turn.record import TurnRecord
from completions.turn.response import ResponseSender

pytestmark = pytest.mark.looptime

BUFFER_WORDS_AT_S, WORDS_AT_S = 1.5, 4.0
WORDS = Chunk(None, (Text("Here I am."),))


class Caller:
    """One caller: what it received, and how fast it takes messages."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, str]] = []
        self.takes_after_s = 0.0
        self.gone = False

    async def __call__(self, message: Any) -> None:
        """Take one message."""
        if self.gone:
            raise OSError("gone")
        await asyncio.sleep(self.takes_after_s)
        now = round(asyncio.get_running_loop().time(), 3)
        self.messages.append((now, message.get("body", b"start").decode()))


class Written:
    """Writes plain text."""

    def buffer_words(self, phrase: str) -> bytes:
        """The phrase."""
        return phrase.encode()


class Model:
    """Speaks after a delay."""

    async def batches(self) -> AsyncGenerator[list[Chunk], None]:
        """One batch."""
        await asyncio.sleep(WORDS_AT_S)
        yield [WORDS]


def _wait(caller: Caller, *, starts_early: bool = False) -> tuple[FirstWords, Any]:
    now = asyncio.get_running_loop().time()
    plan: Any = SimpleNamespace(
        record=TurnRecord(),
        budget_ends=None,
        starts_early=starts_early,
        buffer_words_due_at=now + BUFFER_WORDS_AT_S,
        next_buffer_words=lambda *_: "Well... ",
        requests=SimpleNamespace(on_written=None),
    )
    return FirstWords(plan, Written(), ResponseSender(caller)), plan  # type: ignore[arg-type]


def _answer() -> Any:
    return SimpleNamespace(speaking=False, follows_buffer_words=lambda _: None)


async def test_words_pass_through_no_task() -> None:
    """The waiting code reads the answer itself; a task and a queue would add two hand-overs."""
    first_words, _ = _wait(Caller())
    tasks: list[set[asyncio.Task[Any]]] = []
    asyncio.get_running_loop().call_later(0.5, lambda: tasks.append(asyncio.all_tasks()))
    assert await first_words.next(_answer(), Model().batches()) == [WORDS]
    assert tasks == [{asyncio.current_task()}]


async def test_buffer_words_wait_for_a_start_that_is_sent_slowly() -> None:
    """Messages written during the wait leave in order."""
    caller = Caller()
    caller.takes_after_s = 2.0
    first_words, plan = _wait(caller, starts_early=True)
    plan.requests.on_written()
    await first_words.next(_answer(), Model().batches())
    await asyncio.sleep(1)
    start_at = round(START_AFTER_S + 2, 3)
    assert caller.messages == [(start_at, "start"), (start_at + 2, "Well... ")]


async def test_a_caller_who_cannot_be_sent_buffer_words_has_hung_up() -> None:
    """The turn stops waiting for the model."""
    caller = Caller()
    caller.gone = True
    first_words, _ = _wait(caller)
    with pytest.raises(OSError, match="gone"):
        await first_words.next(_answer(), Model().batches())
    assert asyncio.get_running_loop().time() == pytest.approx(BUFFER_WORDS_AT_S)


async def test_a_cancellation_from_outside_is_not_a_time_out() -> None:
    """A hang-up at the moment when a timer fires is still a hang-up."""
    first_words, _ = _wait(Caller())
    first_words.budget_ends = asyncio.get_running_loop().time() + 1
    waiting = asyncio.ensure_future(first_words.next(_answer(), Model().batches()))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
