"""Bring your own agent: an async generator that answers in the model's place.

`COMPLETIONS_RESPONDER=package.module:function` names it. It is called with a `Conversation` and
yields `Say`, `Think` and `Call`; the turn around it keeps all its promises (buffer words, never
empty, checked tool calls, honest ends). `Conversation.ask` asks the configured models, with the
fallback, hedging and time-outs of an ordinary turn.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import to_json

from completions.dialects import chat
from completions.dialects.deltas import (
    CallPart,
    Chunk,
    Delta,
    Done,
    Finish,
    Reasoning,
    Refusal,
    Text,
)
from completions.dialects.dialect import Dialect
from completions.errors import InvalidRequest, UpstreamUnavailable
from completions.race.health import Health
from completions.race.question import Question
from completions.race.race import EmptyAnswer, Race, Timeouts
from completions.race.waits import Waits
from completions.settings import Candidate
from completions.speech.scanner import CallText, Part, Scanner
from completions.tools.held_calls import HeldCalls
from completions.tools.loose_json import read_object

RESPONDER = Candidate("responder", "")
ATTEMPTS = 2
"""A responder that fails before it said a word is run once more."""
ASK_WAIT_LIMIT_S = 3.0
"""How long `Conversation.ask` waits for a model that asks for patience."""


class ResponderError(ValueError):
    """`COMPLETIONS_RESPONDER` names nothing that can answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Say:
    """Words to be spoken: a sentence or a piece of one, sent on at once."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Words that are not spoken; they prove that the agent is alive."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call for the platform to carry out; `name` is one of the request's tools."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """Made up where it is empty."""
    _written: str | None = field(default=None, repr=False, compare=False)
    """The arguments as a model wrote them: a call that is passed on is checked by these."""
    _extra_content: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What the model's API wants back with the call."""


Event = Say | Think | Call


@dataclass(frozen=True)
class Conversation:
    """What the platform asked, in Chat Completions' terms whichever API it used.

    `messages` and `tools` are as they came; `extra` is `elevenlabs_extra_body`, which comes from
    the client and is never a ground for authorisation.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    model: str
    extra: Mapping[str, Any]
    _question: Question = field(repr=False)
    _health: Health = field(repr=False)
    _timeouts: Timeouts = field(repr=False)
    _waits: Waits = field(repr=False)
    _candidates: Callable[[], list[Candidate]] = field(repr=False)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **parameters: Any,
    ) -> AsyncGenerator[Event, None]:
        """Ask the configured models; yield what the first one to answer says.

        Without `messages` or `tools` the caller's own are sent; `parameters` are further fields
        of the request (`temperature`, `max_tokens`). Tool calls come after the words. An empty
        answer yields nothing. Counts against the turn's three upstream requests.

        Raises:
            CompletionsError: nobody answered.
            ValueError: the request is not valid.
        """
        body = {
            **self._question.request.body,
            **parameters,
            "messages": list(self.messages if messages is None else messages),
            "tools": list(self.tools if tools is None else tools),
            "stream": True,
        }
        body.pop("n", None)  # One answer is what an agent can follow.
        try:
            request = chat.parse(body)
        except InvalidRequest as error:
            # The agent's mistake: the caller's request was good.
            raise ValueError(f"Conversation.ask: {error.message}") from error
        question = replace(self._question, request=request)
        if not question.can_ask:
            raise UpstreamUnavailable("This turn's three upstream requests are used up.")
        race = Race(
            question,
            self._candidates(),
            self._health,
            self._timeouts,
            started_at=asyncio.get_running_loop().time(),
            words_only=request.speakable,
            waits=self._waits,
            wait_limit_s=ASK_WAIT_LIMIT_S,
        )
        held = HeldCalls(request.tools)
        try:
            async with aclosing(race.answer()) as answer:
                async for batch in answer:
                    for chunk in batch:
                        if any(isinstance(delta, CallPart) for delta in chunk.deltas):
                            held.add(chunk)
                        for delta in chunk.deltas:
                            if isinstance(delta, Text | Refusal):
                                yield Say(delta.text)
                            elif isinstance(delta, Reasoning):
                                yield Think(delta.text)
        except EmptyAnswer:
            return
        for call in held.unchecked():
            arguments = read_object(call.arguments) or {}
            yield Call(call.name, arguments, call.id, call.arguments, call.extra_content)


Responder = Callable[[Conversation], AsyncGenerator[Event, None]]


def load(name: str) -> Responder:
    """Return the function that `COMPLETIONS_RESPONDER` names.

    Raises:
        ResponderError: there is no such function, or it cannot be a responder.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ResponderError(
            f"COMPLETIONS_RESPONDER must be package.module:function, not {name!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        # Whatever the module's own code raises, the deployment's owner must see why.
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}. "
            "Modules in functions/completions/agents/ are named completions.agents.<module>."
        ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: {module_name!r} has no {function_name!r}."
        )
    if not inspect.isasyncgenfunction(function):
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: {function_name!r} is no async generator function. "
            "It must be `async def` and `yield` Say, Think or Call."
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: {function_name!r} must take one argument, the "
            f"Conversation, but {error}."
        ) from error
    responder: Responder = function
    return responder


@dataclass(frozen=True)
class ResponderQuestion:
    """A turn's question, put to a responder in place of a model; see `attempts.Askable`."""

    responder: Responder
    conversation: Conversation
    attempts: list[int] = field(default_factory=list)

    @property
    def can_ask(self) -> bool:
        """True while the responder may be run again."""
        return self.requests_left > 0

    @property
    def requests_left(self) -> int:
        """How many times the responder may still be run."""
        return ATTEMPTS - len(self.attempts)

    @property
    def can_change_task(self) -> bool:
        """False: an agent's time-outs and task groups belong to the task that runs it."""
        return False

    def after_silence(self) -> ResponderQuestion:
        """Return the same: what an agent does with its silence is its own."""
        return self

    def with_feedback(self, answer: str, feedback: str) -> ResponderQuestion:
        """Return the conversation continued by the answer and what was wrong with it."""
        body = chat.with_feedback({"messages": list(self.conversation.messages)}, answer, feedback)
        return replace(self, conversation=replace(self.conversation, messages=body["messages"]))

    async def ask(
        self,
        _: Candidate,
        source: int,
        /,
        *,
        hedge: bool = False,  # noqa: ARG002 - an agent is not hedged; what it asks may be
    ) -> AsyncGenerator[list[Chunk], None]:
        """Yield what the responder yields, each piece at once; raise what it raises."""
        self.attempts.append(source)
        calls = 0
        scanner = Scanner()
        async with aclosing(self.responder(self.conversation)) as events:
            async for event in events:
                deltas: Sequence[Delta]
                match event:
                    case Say(str(text)):
                        deltas = _spoken(scanner.feed(text))
                    case Think(str(text)):
                        deltas = [Reasoning(text)]
                    case Call(str(name), Mapping()):
                        call_id = event.id or f"call_{secrets.token_hex(12)}"
                        extra = event._extra_content  # noqa: SLF001 - see `_written`
                        part = CallPart(calls, call_id, name, _written(event), extra_content=extra)
                        deltas = [part]
                        calls += 1
                    case _:
                        raise TypeError(
                            "a responder yields Say(text), Think(text) or Call(name, arguments), "
                            f"not {event!r}"
                        )
                yield [_chunk(source, *deltas)]
        finish = Finish("tool_calls" if calls else "stop")
        yield [_chunk(source, *_spoken(scanner.flush()), finish, Done())]


def _spoken(parts: Iterable[Part]) -> list[Delta]:
    return [part for part in parts if not isinstance(part, CallText)]


def _written(call: Call) -> str:
    if call._written is not None:  # noqa: SLF001 - hidden from agents, not from us
        return call._written  # noqa: SLF001
    return to_json(dict(call.arguments)).decode()


def _chunk(source: int, *deltas: Delta) -> Chunk:
    return Chunk(None, deltas, unchanged=False, source=source)


def conversation(
    dialect: Dialect,
    question: Question,
    health: Health,
    timeouts: Timeouts,
    candidates: Callable[[], list[Candidate]],
    *,
    waits: Waits,
) -> Conversation:
    """Return the conversation of a request, in Chat Completions' terms whatever its dialect."""
    request = question.request
    body = dialect.as_chat(request.body) or request.body
    return Conversation(
        messages=body.get("messages") or [],
        tools=body.get("tools") or [],
        model=request.model,
        extra=request.extra.raw,
        _question=replace(question, dialect=chat, request=replace(request, body=body)),
        _health=health,
        _timeouts=timeouts,
        _waits=waits,
        _candidates=candidates,
    )
