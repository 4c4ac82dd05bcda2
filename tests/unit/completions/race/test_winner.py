"""The winner's answer, read to its end: the terminator, the finish, a cut or a stall."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from completions.dialects.deltas import Chunk, Done, Text
from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.race.attempts import DRAIN_S, Attempt, Event
from completions.race.health import Health
from completions.race.race import Race
from completions.race.timeouts import Timeouts
from completions.race.winner import SilenceLimits, read_on
from completions.settings import Candidate
from local.scripted.script import Comment, Finish, Pause, Role, Say
from local.scripted.script import Done as Terminator
from local.scripted.script import Step as ScriptStep
from tests.support.clock import block_loop
from tests.support.in_process import PlayedUpstream
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

A = Candidate("upstream", "http://a.invalid/v1")
DONE = Chunk(None, (Done(),))
KEEP_ALIVE = Chunk(None, ())
Step = float | Chunk | BaseException


def word(number: int) -> Chunk:
    """Return one word of an answer."""
    return Chunk(None, (Text(f"w{number} "),))


@dataclass
class Spoken:
    """A model or an agent that plays steps: pauses in seconds, chunks, errors."""

    steps: Sequence[Step]
    can_change_task: bool = True
    can_ask: bool = False
    requests_left: int = 0
    tasks: list[asyncio.Task[None] | None] = field(default_factory=list)
    ended_at: float | None = None
    whole: bool = False

    def given_up(self) -> None:
        """Do nothing."""

    def after_silence(self) -> Spoken:
        return self

    def with_feedback(self, answer: str, feedback: str) -> Spoken:
        """Return the same question."""
        return self

    async def ask(
        self, _: Candidate, __: int, /, *, hedge: bool = False
    ) -> AsyncGenerator[list[Chunk], None]:
        """Play the steps, each chunk by itself."""
        assert not hedge
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    self.tasks.append(asyncio.current_task())
                    yield [step]
            self.whole = True
        finally:
            self.ended_at = asyncio.get_running_loop().time()


def _race(spoken: Spoken) -> Race:
    now = asyncio.get_running_loop().time()
    return Race(spoken, [A], Health(), Timeouts(stall_s=4.0), started_at=now)


async def _read(spoken: Spoken, *, pause_s: float = 0.0) -> tuple[str, CompletionsError | None]:
    """Return the words heard by a caller who pauses after each batch, and the final error."""
    heard = ""
    try:
        async with aclosing(_race(spoken).answer()) as batches:
            async for batch in batches:
                for chunk in batch:
                    heard += "".join(one.text for one in chunk.deltas if isinstance(one, Text))
                await asyncio.sleep(pause_s)
    except CompletionsError as error:
        return heard, error
    return heard, None


def _words(count: int, gap_s: float = 0.1) -> list[Step]:
    return [step for number in range(count) for step in (gap_s, word(number))]


def _text(count: int) -> str:
    return "".join(f"w{number} " for number in range(count))


@pytest.mark.parametrize("can_change_task", [True, False])
async def test_a_models_answer_needs_no_task_once_it_has_won(
    can_change_task: bool,
) -> None:
    """Behind the first words the caller's own task reads it, unlike an agent's answer."""
    spoken = Spoken([*_words(5), DONE], can_change_task)
    assert await _read(spoken) == (_text(5), None)
    here = [task is asyncio.current_task() for task in spoken.tasks]
    assert here == [False, *[can_change_task] * 5]


@pytest.mark.parametrize("woken", [True, False])
@pytest.mark.parametrize("queued", range(4))
async def test_a_winner_is_read_on_directly_whatever_it_has_queued(
    queued: int, woken: bool
) -> None:
    """Its reader may meet the end of its task before, among or behind the words in the queue."""

    async def rest() -> AsyncGenerator[list[Chunk], None]:
        yield [word(queued + 1)]
        yield [DONE]

    winner = Attempt(0, A, 0.0, 0.0, held=[word(0)], rest=rest())
    events: asyncio.Queue[Event] = asyncio.Queue()
    for number in range(queued):
        events.put_nowait((winner, [word(number + 1)], None))
    if woken or not queued:
        events.put_nowait((winner, [], None))
    answer = read_on(winner, events, silence_limits=SilenceLimits(stall_s=4.0), answers=1)
    chunks = [chunk for batch in [each async for each in answer] for chunk in batch]
    assert chunks == [*(word(number) for number in range(queued + 2)), DONE]
    assert asyncio.get_running_loop().time() == pytest.approx(0.0, abs=0.01)


async def test_a_stall_is_noticed_again_after_a_slow_reader_discarded_one() -> None:
    """A stall that was queued while nobody read does not end the watch."""
    winner = Attempt(0, A, 0.0, 0.0, held=[word(0)])
    events: asyncio.Queue[Event] = asyncio.Queue()
    answer = read_on(winner, events, silence_limits=SilenceLimits(stall_s=4.0), answers=1)
    async with aclosing(answer):
        assert await anext(answer) == [word(0)]
        events.put_nowait((winner, [word(1)], None))
        assert await anext(answer) == [word(1)]
        await asyncio.sleep(6)
        events.put_nowait((winner, [word(2)], None))
        heard = [await anext(answer)]
        with pytest.raises(UpstreamTimeout):
            heard += [batch async for batch in answer]
    assert heard == [[word(2)]]


async def test_silence_is_a_stall() -> None:
    """After the stall time-out the answer is closed, and its reader gets the error."""
    spoken = Spoken([*_words(5), 60.0, word(5)])
    heard, error = await _read(spoken)
    assert heard == _text(5)
    assert isinstance(error, UpstreamTimeout)
    assert spoken.ended_at == pytest.approx(4.5, abs=0.01)
    current = asyncio.current_task()
    assert current is not None
    assert not current.cancelling()


async def test_keep_alives_are_silence() -> None:
    """Comments do not prolong the wait for a word."""
    spoken = Spoken([*_words(5), *(3.0, KEEP_ALIVE) * 9])
    heard, error = await _read(spoken)
    assert heard == _text(5)
    assert isinstance(error, UpstreamTimeout)
    assert spoken.ended_at == pytest.approx(4.5, abs=0.01)


async def test_a_slow_reader_is_no_stall() -> None:
    """Time in which nothing is read does not count as the model's silence."""
    spoken = Spoken([*_words(5), DONE])
    assert await _read(spoken, pause_s=10.0) == (_text(5), None)


async def test_a_slow_reader_learns_of_a_stall() -> None:
    """Once it reads again, the model has its stall time-out and no more."""
    spoken = Spoken([*_words(4), 60.0])
    heard, error = await _read(spoken, pause_s=10.0)
    assert heard == _text(4)
    assert isinstance(error, UpstreamTimeout)
    assert spoken.ended_at is not None
    assert spoken.ended_at < 50


@pytest.mark.parametrize(
    "failure", [UpstreamUnavailable("cut"), RuntimeError("a bug")], ids=["cut", "bug"]
)
async def test_a_cut_comes_after_all_words(failure: Exception) -> None:
    """The error comes after everything before it was heard."""
    heard, error = await _read(Spoken([*_words(5), failure]))
    assert heard == _text(5)
    assert isinstance(error, UpstreamUnavailable)


async def test_an_end_without_terminator_is_a_cut() -> None:
    """A connection that just closes breaks the answer off."""
    heard, error = await _read(Spoken(_words(5)))
    assert heard == _text(5)
    assert isinstance(error, UpstreamUnavailable)


@pytest.mark.parametrize("after_s", [1.0, 4.5], ids=["in mid-wait", "at the stall's moment"])
async def test_a_hang_up_closes_the_answer_at_once(after_s: float) -> None:
    """A reader that is cancelled while it waits does not see a stall."""
    spoken = Spoken([*_words(5), 60.0])
    reading = asyncio.create_task(_read(spoken))
    await asyncio.sleep(after_s)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert spoken.ended_at == pytest.approx(after_s, abs=0.001)


async def test_a_reader_that_leaves_between_two_batches_closes_the_answer() -> None:
    """No request is left open."""
    spoken = Spoken([*_words(9), DONE])
    async with aclosing(_race(spoken).answer()) as batches:
        for _ in range(5):
            await anext(batches)
    assert spoken.ended_at == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("words", [1, 5], ids=["in its task", "in its reader's"])
async def test_after_the_terminator_an_answer_is_read_to_its_end(words: int) -> None:
    """The connection ends a little later and can then be reused."""
    spoken = Spoken([*_words(words), DONE, DRAIN_S / 2])
    assert await _read(spoken) == (_text(words), None)
    assert spoken.whole


async def test_a_connection_that_stays_open_is_closed() -> None:
    """The wait after the terminator is short."""
    spoken = Spoken([*_words(5), DONE, 60.0])
    assert await _read(spoken) == (_text(5), None)
    assert not spoken.whole
    assert spoken.ended_at == pytest.approx(0.5 + DRAIN_S, abs=0.01)


async def test_nothing_after_the_terminator_is_spoken(way: Way) -> None:
    """Data that an upstream sends after its own end is not part of the answer."""
    upstream = PlayedUpstream(
        [Role(), Say("Hello."), Finish(), Terminator(), Say(" Late"), Terminator()]
    )
    answered = way.read(await way.post(way.caller(upstream)))
    assert answered.text == "Hello."


async def test_a_finish_is_the_end_without_a_terminator() -> None:
    """Half a second later the stream is closed, and comments do not prolong that."""
    tail: list[ScriptStep] = [step for _ in range(100) for step in (Pause(100), Comment())]
    upstream = PlayedUpstream([Role(), Say("Sunny."), Finish(), *tail])
    heard = await CHAT.post(CHAT.caller(upstream))
    got = CHAT.read(heard)
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert heard.pieces[-1][0] == 500
    (seen,) = upstream.requests
    assert round(((seen.hung_up_at or 0) - seen.at) * 1000) == 500


class FromSocket(Spoken):
    """A model whose words come through a socket, one line each."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__([])
        self._reader = reader

    async def ask(
        self, _: Candidate, __: int, /, *, hedge: bool = False
    ) -> AsyncGenerator[list[Chunk], None]:
        """Yield each line as it comes."""
        while line := await self._reader.readline():
            yield [Chunk(None, (Text(line.decode()),))]
        yield [DONE]


def test_a_pause_of_our_own_process_is_no_silence_of_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Data that is in the socket when the process continues is read before the answer is cut."""
    ours, theirs = socket.socketpair()

    def stop_the_process() -> None:
        theirs.sendall(b"and more.\n")
        theirs.close()
        block_loop(monkeypatch, 0.5)

    async def hear() -> str:
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.sendall(b"One\ntwo\n")
        now = asyncio.get_running_loop().time()
        model = FromSocket(reader)
        race = Race(model, [A], Health(), Timeouts(stall_s=0.2), started_at=now)
        heard = ""
        async with aclosing(race.answer()) as batches:
            async for batch in batches:
                heard += "".join(one.text for c in batch for one in c.deltas if type(one) is Text)
                if heard == "One\ntwo\n":
                    asyncio.get_running_loop().call_soon(stop_the_process)
        writer.close()
        return heard

    assert asyncio.run(hear()) == "One\ntwo\nand more.\n"
