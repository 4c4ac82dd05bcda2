"""The attempts of a race: started, read through one queue, handed over, and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from completions.dialects.deltas import Chunk, Done, Text
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.race.attempts import CANCEL_S, DRAIN_S, Attempts, is_done
from completions.settings import Candidate
from tests.support.logs import Logged

pytestmark = pytest.mark.looptime

A = Candidate("upstream", "http://a.invalid/v1")
B = Candidate("fallback", "http://b.invalid/v1")
HELLO = Chunk(None, (Text("Hello"),))
DONE = Chunk(None, (Done(),))


class FakeQuestion:
    """A question; each candidate answers with its steps: pauses in seconds, chunks, errors."""

    def __init__(self, *, can_change_task: bool = True, **answers: Sequence[Any]) -> None:
        self.can_ask = True
        self.requests_left = 3
        self.can_change_task = can_change_task
        self.answers = answers
        self.made: list[tuple[str, int, bool]] = []
        self.closed: list[str] = []

    def given_up(self) -> None:
        """Do nothing."""

    def after_silence(self) -> FakeQuestion:
        return self

    def with_feedback(self, answer: str, feedback: str) -> FakeQuestion:
        """Fail: attempts never do this."""
        raise AssertionError

    async def ask(
        self, candidate: Candidate, source: int, /, *, hedge: bool = False
    ) -> AsyncGenerator[list[Chunk], None]:
        """Play the steps of the candidate."""
        self.made.append((candidate.key, source, hedge))
        try:
            for step in self.answers[candidate.key]:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Chunk):
                    yield [step]
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed.append(candidate.key)


async def next_batch(attempts: Attempts) -> tuple[str, list[Chunk] | CompletionsError | None]:
    """Return the next event's candidate, and its batch or error; None at a proper end."""
    event = await attempts.next_event(None)
    assert event is not None
    attempt, batch, error = event
    assert attempt is not None
    return attempt.candidate.key, error if batch is None else batch


async def test_all_attempts_are_read_through_one_queue() -> None:
    """Their events come in order of time, each with its attempt."""
    attempts = Attempts(FakeQuestion(upstream=[2, HELLO], fallback=[1, HELLO, 2]), 0)
    attempts.start(A)
    attempts.start(B)
    assert await next_batch(attempts) == ("fallback", [HELLO])
    assert await next_batch(attempts) == ("upstream", [HELLO])
    assert await next_batch(attempts) == ("upstream", None)
    assert await next_batch(attempts) == ("fallback", None)
    await attempts.close()


async def test_attempts_are_numbered_through_a_turn() -> None:
    """A race continues the count of the one before it, and marks hedges."""
    question = FakeQuestion(upstream=[5], fallback=[5])
    attempts = Attempts(question, first_source=4)
    attempts.start(A)
    attempts.start(B, hedge=True)
    await asyncio.sleep(1)
    assert question.made == [("upstream", 4, False), ("fallback", 5, True)]
    assert attempts.next_source == 6
    await attempts.close()


async def test_the_time_of_an_attempt_may_count_from_earlier() -> None:
    """Time-outs count from `timeout_base`, by default from the start."""
    await asyncio.sleep(3)
    attempts = Attempts(FakeQuestion(upstream=[5], fallback=[5]), 0)
    attempts.start(A, 1.0)
    attempts.start(B)
    moments = [(one.started_at, one.timeout_base) for one in attempts.all]
    assert moments == [(3, 1), (3, 3)]
    await attempts.close()


async def test_the_wait_for_an_event_has_a_deadline() -> None:
    """An answer that comes at that very moment still beats the timer."""
    attempts = Attempts(FakeQuestion(upstream=[2, HELLO, 9]), 0)
    attempts.start(A)
    assert await attempts.next_event(1.5) is None
    event = await attempts.next_event(2.0)
    assert event is not None
    assert event[1] == [HELLO]
    await attempts.close()


async def test_an_attempt_that_fails_yields_its_error() -> None:
    """The error comes after all of its words."""
    attempts = Attempts(FakeQuestion(upstream=[HELLO, UpstreamTimeout("Late.")]), 0)
    attempts.start(A)
    assert await next_batch(attempts) == ("upstream", [HELLO])
    _, error = await next_batch(attempts)
    assert isinstance(error, UpstreamTimeout)
    await attempts.close()


@pytest.mark.parametrize(
    "bug",
    [
        RuntimeError("internals"),
        asyncio.CancelledError(),
        BaseExceptionGroup("internals", [ValueError(), GeneratorExit()]),
    ],
    ids=repr,
)
async def test_a_bug_in_an_attempt_is_a_failure(logs: Logged, bug: BaseException) -> None:
    """The log has the bug, and the race continues with an error that hides it."""
    attempts = Attempts(FakeQuestion(upstream=[bug]), 0)
    attempts.start(A)
    _, error = await next_batch(attempts)
    assert isinstance(error, UpstreamUnavailable)
    assert "internals" not in error.message
    event = logs.event("candidate.crashed")
    assert event["candidate"] == "upstream"
    assert "test_attempts.py:" in event["place"]
    await attempts.close()


@pytest.mark.parametrize("can_change_task", [True, False])
async def test_an_answer_is_handed_over_unless_it_belongs_to_its_task(
    can_change_task: bool,
) -> None:
    """Its task ends, its reader is woken by an empty batch, and the rest is read directly."""
    question = FakeQuestion(can_change_task=can_change_task, upstream=[HELLO, 1, HELLO, 1, HELLO])
    attempts = Attempts(question, 0)
    attempts.start(A)
    await next_batch(attempts)
    (attempt,) = attempts.all
    attempts.offer_to_reader(attempt)
    following = await next_batch(attempts)
    if can_change_task:
        assert following == ("upstream", [])
        assert attempt.rest is not None
        assert [batch async for batch in attempt.rest] == [[HELLO], [HELLO]]
    else:
        assert following == ("upstream", [HELLO])
        assert attempt.rest is None
        assert await next_batch(attempts) == ("upstream", [HELLO])
    await attempts.close()


async def test_cancelled_attempts_are_closed_when_cancel_returns() -> None:
    """The other attempts continue."""
    question = FakeQuestion(upstream=[60], fallback=[1, HELLO])
    attempts = Attempts(question, 0)
    attempts.start(A)
    attempts.start(B)
    await asyncio.sleep(0.5)
    await attempts.cancel([attempts.all[0]])
    assert (question.closed, attempts.all[0].over) == (["upstream"], True)
    assert await next_batch(attempts) == ("fallback", [HELLO])
    await attempts.close()


async def test_an_attempt_that_will_not_stop_is_left_behind(logs: Logged) -> None:
    """The wait for it is bounded by `CANCEL_S`."""
    released = asyncio.Event()

    class Stubborn(FakeQuestion):
        async def ask(
            self, candidate: Candidate, source: int, /, *, hedge: bool = False
        ) -> AsyncGenerator[list[Chunk], None]:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            yield [HELLO]

    attempts = Attempts(Stubborn(), 0)
    attempts.start(A)
    await asyncio.sleep(1)
    await attempts.close()
    assert asyncio.get_running_loop().time() == pytest.approx(1 + CANCEL_S)
    assert logs.event("candidate.stubborn")["attempts"] == 1
    released.set()
    task = attempts.all[0].task
    assert task is not None
    await asyncio.wait({task})


@pytest.mark.parametrize(
    ("rest_s", "read_to_its_end"), [(DRAIN_S / 2, True), (60, False)], ids=["soon", "never"]
)
async def test_an_answer_after_its_terminator_is_read_on_for_a_moment(
    rest_s: float, read_to_its_end: bool
) -> None:
    """A connection that was read to its end can be reused."""
    attempts = Attempts(FakeQuestion(upstream=[DONE, rest_s]), 0)
    attempts.start(A)
    _, batch = await next_batch(attempts)
    assert isinstance(batch, list)
    attempts.all[0].held = batch
    await attempts.close()
    task = attempts.all[0].task
    assert task is not None
    assert task.cancelled() is not read_to_its_end
    assert asyncio.get_running_loop().time() == pytest.approx(min(rest_s, DRAIN_S))


def test_a_batch_with_the_terminator_is_done() -> None:
    """Its place in the batch does not matter."""
    assert is_done([HELLO, DONE])
    assert is_done([Chunk(None, (Text("Hello"), Done()))])
    assert not is_done([HELLO])
    assert not is_done([])


async def test_a_hang_up_while_an_answer_is_read_to_its_end_closes_it() -> None:
    """After a hang-up nothing after the terminator keeps the request open."""
    question = FakeQuestion(upstream=[DONE, 10.0])
    attempts = Attempts(question, 0)
    attempts.start(A)
    await next_batch(attempts)
    attempts.all[0].held = [DONE]
    closing = asyncio.create_task(attempts.close())
    await asyncio.sleep(DRAIN_S / 2)
    closing.cancel()
    await asyncio.wait({closing})
    assert question.closed == ["upstream"]
