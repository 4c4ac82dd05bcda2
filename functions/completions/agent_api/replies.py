"""One answer of a model as the SDK reads it: streamed, or in one piece.

The model always streams, so that the race's timers work. Tool calls are held until they are whole;
the platform's are taken out, the agent's own are mended if possible.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from completions.agent_api import platform_tools
from completions.agent_api.agent_run import Run
from completions.agent_api.events import from_model
from completions.dialects.deltas import (
    Call,
    CallPart,
    Chunk,
    Finish,
    Reasoning,
    Refusal,
    Text,
    Usage,
    text_in,
)
from completions.dialects.dialect import Dialect, Writer
from completions.dialects.finish_reasons import honest_finish
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError
from completions.observability import log
from completions.race.attempts import EmptyAnswer, is_done
from completions.speech.sentences import has_words
from completions.sse import ServerSentEvent
from completions.tools import validation
from completions.tools.held_calls import HeldCalls
from completions.tools.loose_json import read_object


class Reply:
    """One answer: `begin` it, then read its `events` or its `body`."""

    def __init__(
        self, dialect: Dialect, request: ParsedRequest, run: Run, platform: frozenset[str]
    ) -> None:
        self._dialect = dialect
        self._request = request
        self._run = run
        self._platform = platform
        self._requests = run.questions.new_requests()
        self._start()

    def _start(self) -> None:
        self._batches = self._run.answer(self._dialect, self._request, self._requests)
        self._begun: list[Chunk] = []
        self._held = HeldCalls(self._request.tools)
        self._spoke = False
        self._finish = ""
        self._usage: dict[str, Any] | None = None

    async def begin(self) -> None:
        """Wait for a model to answer: until then the reply may still be an error status.

        Raises:
            CompletionsError: nobody answered.
        """
        try:
            self._begun = await anext(self._batches, [])
        except EmptyAnswer as empty:
            self._begun = empty.held

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield the answer as an event stream; a failure is an event in it."""
        writer = self._dialect.writer(self._request)
        try:
            async for batch in self._all():
                out = b""
                for chunk in batch:
                    if (rest := self._note(chunk)) is not None:
                        out += (
                            writer.relay(rest) if rest.sse is not None else _written(rest, writer)
                        )
                if out:
                    yield out
            calls = self._calls()
            out = b"".join(map(writer.call, calls))
            yield out + writer.end(honest_finish(self._finish, calls=bool(calls)), self._usage)
        except CompletionsError as error:
            yield writer.failure(error)
        except Exception:
            log.exception("agent.client_crashed")
            yield writer.failure(bug())
        finally:
            await self.close()

    async def body(self) -> bytes:
        """Return the answer in one piece; if it breaks off, silently ask again.

        Raises:
            CompletionsError: it broke off, and no request is left.
        """
        while True:
            answer: list[Chunk] = []
            try:
                async for batch in self._all():
                    answer += [rest for chunk in batch if (rest := self._note(chunk)) is not None]
                break
            except CompletionsError:
                if not self._requests.left:
                    raise
            finally:
                await self.close()
            self._start()
            await self.begin()
        calls = self._calls()
        return self._dialect.buffered(
            self._request,
            _received(answer),
            text=text_in(answer, Text, Refusal),
            reasoning=text_in(answer, Reasoning),
            calls=calls,
            finish=honest_finish(self._finish, calls=bool(calls)),
            usage=self._usage,
        )

    async def close(self) -> None:
        """End the question unless it has ended."""
        await self._batches.aclose()

    async def _all(self) -> AsyncGenerator[list[Chunk], None]:
        """Yield the batches up to the terminator; what follows is read at the end."""
        batch: list[Chunk] | None = self._begun
        while batch is not None:
            yield batch
            if is_done(batch[-1:]):
                return
            batch = await anext(self._batches, None)

    def _note(self, chunk: Chunk) -> Chunk | None:
        """Note a chunk; return it without its tool calls."""
        if any(isinstance(delta, CallPart) for delta in chunk.deltas):
            self._held.add(chunk)
            rest = tuple(delta for delta in chunk.deltas if not isinstance(delta, CallPart))
            if not rest:
                return None
            chunk = Chunk(chunk.sse, rest, unchanged=False, source=chunk.source)
        for delta in chunk.deltas:
            if isinstance(delta, Text | Refusal):
                self._spoke = self._spoke or has_words(delta.text)
            elif isinstance(delta, Finish):
                self._finish = delta.reason
            elif isinstance(delta, Usage):
                self._usage = delta.usage
        return chunk

    def _calls(self) -> list[Call]:
        """Return the agent's own calls, mended; give the platform's to the turn."""
        own, platform = platform_tools.parted(self._held.unchecked(), self._platform)
        self._run.calls += [from_model(call) for call in platform]
        self._run.handed_over |= bool(platform) and not own and not self._spoke
        return [_mended(call, self._request) for call in own]


def _mended(call: Call, request: ParsedRequest) -> Call:
    """Return a call that fits its tool's schema, or at least has JSON arguments."""
    if (valid := validation.check(call, request.tools).call) is not None:
        return valid
    arguments = read_object(call.arguments)
    return call if arguments is None else replace(call, arguments=to_json(arguments).decode())


def _written(chunk: Chunk, writer: Writer) -> bytes:
    out = b""
    for delta in chunk.deltas:
        if isinstance(delta, Text | Refusal):
            out += writer.text(delta.text)
        elif isinstance(delta, Reasoning):
            out += writer.reasoning(delta.text)
    return out


def _received(answer: Iterable[Chunk]) -> ServerSentEvent | None:
    """Return the answer's own fields (not its text), as if it had come in one piece."""
    whole: dict[str, Any] = {}
    for chunk in answer:
        event = _decoded(chunk.sse)
        if isinstance(response := event.get("response"), dict):
            whole = response
        elif "choices" in event:
            whole = whole or {name: one for name, one in event.items() if name != "choices"}
    return ServerSentEvent(b"", to_json(whole)) if whole else None


def _decoded(sse: ServerSentEvent | None) -> Mapping[str, Any]:
    try:
        event = from_json(sse.data) if sse and sse.data else None
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def bug() -> CompletionsError:
    """Return the error that stands for our own bug."""
    return CompletionsError("Internal error; it has been logged.")
