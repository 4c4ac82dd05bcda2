"""Reads the SSE events of a Chat Completions answer.

Shapes: platform.openai.com/docs/api-reference/chat-streaming, and what other servers send. Events
that strict clients would not understand are read as well, and marked with `Rewrite`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from completions.dialects.chat.calls import read_calls
from completions.dialects.content_parts import TextType, read_parts
from completions.dialects.deltas import (
    Delta,
    Done,
    Failure,
    Finish,
    Other,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
    Usage,
)
from completions.dialects.error_objects import error_in, upstream_failure
from completions.dialects.finish_reasons import read_finish
from completions.dialects.split_characters import Halves, read_json_with_halves
from completions.errors import UpstreamUnavailable
from completions.sse import ServerSentEvent

_MISSHAPEN = (ValueError, TypeError, AttributeError, LookupError)
"""What reading raises for JSON that is not a chat completion."""


_TEXT_ONLY = frozenset({"content", "role"})


class ChatReader:
    """Reads one stream, its events in order.

    If one answer is wanted (`single`), reads the choice that came first: number 0, where servers
    count right. A choice ends with its finish, whatever follows it.
    """

    def __init__(self, *, single: bool = False) -> None:
        self._single = single
        self._index = None if single else 0
        """The one choice to read; None until the first one came."""
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._spoke = False
        self._seen: set[type[Delta]] = set()
        """The kinds that were said: a `message` after the deltas only repeats them."""
        self._halves = Halves()
        self._skipped = False
        """True after an unreadable event; a stream of nothing else is not an answer."""
        self._expects_plain = False
        """True while choice 0 is open and nothing is odd, as for most events."""

    def read(self, sse: ServerSentEvent) -> tuple[Delta, ...]:
        """Return what an SSE event says; nothing for comments and keep-alives. Never raises."""
        if not sse.data:
            return ()
        try:
            body: Any = from_json(sse.data)
        except ValueError:
            return self._read_not_json(sse)
        try:
            choices = body.get("choices")
            if self._expects_plain and choices and len(choices) == 1:
                choice = choices[0]
                delta = choice.get("delta")
                if (
                    delta
                    and choice.get("index") == 0
                    and choice.get("finish_reason") is None
                    and not (choice.get("error") or body.get("error") or body.get("usage"))
                ):
                    # The common events come first, for speed.
                    text = delta.get("content")
                    if text and type(text) is str and (len(delta) == 1 or _is_only_text(delta)):
                        self._spoke = True
                        return (Text(text),)
                    deltas: list[Delta] = []
                    if not _read_delta(delta, deltas, in_stream=True) and deltas:
                        for one in deltas:
                            self._seen.add(type(one))
                        return tuple(deltas)
            return tuple(self._read_body(body, sse))
        except _MISSHAPEN:
            return self._skip_or_fail(sse)

    def _read_not_json(self, sse: ServerSentEvent) -> tuple[Delta, ...]:
        """Read what is not JSON: the terminator, halves of characters, or nothing at all."""
        if sse.data.strip().upper() == b"[DONE]":
            nothing = self._skipped and not (self._open or self._finished)
            return (_not_a_completion(),) if nothing else tuple(self._halves.join([Done()]))
        if twice := _TWICE_FRAMED.match(sse.data):
            return (*self.read(sse._replace(data=sse.data[twice.end() :])), Rewrite())
        try:
            body = read_json_with_halves(sse.data)
            return tuple(self._read_body(body, sse, halved=True))
        except _MISSHAPEN:
            return self._skip_or_fail(sse)

    def _skip_or_fail(self, sse: ServerSentEvent) -> tuple[Delta, ...]:
        """Skip an odd event in a stream; report an error, or a whole body that is no answer."""
        if sse.raw and sse.event != b"error":
            self._skipped = True
            return (Rewrite(),)
        return (self._unless_finished(_not_a_completion()),)

    def _unless_finished(self, failure: Failure) -> Delta:
        """Return the failure, unless the answer had its finish and so was whole."""
        return Rewrite() if self._finished and not self._open else failure

    def _read_body(
        self, body: Mapping[str, Any], sse: ServerSentEvent, *, halved: bool = False
    ) -> list[Delta]:
        streamed = bool(sse.raw)
        if error := error_in(body, sse.event):
            return [self._unless_finished(Failure(upstream_failure(error)))]
        choices = body.get("choices") or ()
        deltas: list[Delta] = []
        odd = False
        for choice in choices:
            odd |= self._read_choice(choice, self._number(choice, choices), deltas, streamed)
        # Moonshot puts it into the choice that finishes.
        usage = body.get("usage") or (choices[-1].get("usage") if choices else None)
        if usage:
            odd |= not (isinstance(usage, dict) and body.get("usage"))
            deltas += [Usage(usage)] if isinstance(usage, dict) else []
        if not streamed:
            if not choices:
                raise TypeError("no choices")
            odd |= body.get("object") != "chat.completion"
            odd |= not (isinstance(body.get("id"), str) and isinstance(body.get("created"), int))
            if failures := [delta for delta in deltas if isinstance(delta, Failure)]:
                return [failures[0]]  # Nothing of it was heard, so all of it can be dropped.
            deltas.append(Done())
        elif not deltas:
            # Clients index into `choices`, and ignore an empty delta mid-way.
            found = (choice.get("delta") or {} for choice in choices)
            odd |= not any(value for delta in found for value in delta.values())
        if halved or self._halves.held:
            deltas, odd = self._halves.join(deltas), True
        self._seen.update(map(type, deltas))
        self._expects_plain = self._index == 0 and 0 in self._open and not self._halves.held
        return [*deltas, Rewrite()] if odd else deltas

    def _number(self, choice: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> int:
        """Return the number of a choice, or -1 to skip it."""
        if self._single and self._index is None:
            numbers = [_index_of(one) for one in choices]
            self._index = 0 if 0 in numbers else numbers[0]
        number = _index_of(choice)
        return -1 if self._single and number != self._index else number

    def _read_choice(
        self, choice: Mapping[str, Any], number: int, deltas: list[Delta], streamed: bool
    ) -> bool:
        """Add a choice's deltas; return True if strict clients would not understand it."""
        if number < 0 or number in self._finished:
            return True
        self._open.add(number)
        before = len(deltas)
        odd: bool = choice.get("index") != (0 if self._single else number)
        if delta := choice.get("delta"):
            odd |= _read_delta(delta, deltas, in_stream=True)
        elif text := choice.get("text"):
            # As in the API before chat completions.
            _read_text(text, Text, deltas)
            odd = True
        if len(deltas) == before and (message := choice.get("message")):
            # An answer that was not streamed has a message in place of the `delta`.
            found: list[Delta] = []
            odd |= _read_delta(message, found, in_stream=False) or streamed
            seen = self._seen | {Text} if self._spoke else self._seen
            deltas += [one for one in found if type(one) not in seen]
        if error := choice.get("error"):
            deltas.append(self._unless_finished(Failure(upstream_failure(error))))
        if (reason := choice.get("finish_reason")) is not None:
            finish = read_finish(reason)
            if isinstance(finish, Finish):
                self._open.discard(number)
                self._finished.add(number)
            if finish is not None:
                deltas.append(finish)
            odd |= finish != Finish(reason)
        return odd


_TWICE_FRAMED = re.compile(rb"(?:\s*data:\s*)+(?=\{|\[DONE\])")
"""The prefix that gateways write when they frame lines that already are events."""


def _not_a_completion() -> Failure:
    return Failure(UpstreamUnavailable("The upstream's answer is not a chat completion."))


def _index_of(choice: Mapping[str, Any]) -> int:
    """Return the number of a choice, which some servers leave out."""
    index = choice.get("index")
    return index if isinstance(index, int) and index >= 0 else 0


def _is_only_text(delta: Mapping[str, Any]) -> bool:
    """Return True if a delta with text has nothing else but nulls, which many servers send."""
    for name in delta:  # noqa: SIM110 - a generator takes twice as long
        if name not in _TEXT_ONLY and delta[name]:
            return False
    return True


def _read_delta(delta: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> bool:
    """Add the deltas of a delta or message; return True if its text is not a string."""
    odd = False
    if text := delta.get("reasoning_content") or delta.get("reasoning"):
        odd |= _read_text(text, Reasoning, deltas)
    if text := delta.get("content"):
        kind = Reasoning if _is_thought(delta) else Text
        odd |= _read_text(text, kind, deltas) or kind is Reasoning
    if delta.get("audio"):
        deltas.append(Other())
    if text := delta.get("refusal"):
        odd |= _read_text(text, Refusal, deltas)
    if parts := delta.get("tool_calls"):
        odd |= read_calls(parts, deltas, in_stream=in_stream)
    elif function := delta.get("function_call"):
        # `tool_calls` replaced it in 2023; some gateways send both.
        read_calls([{"function": function, "index": None}], deltas, in_stream=True)
        odd = True
    return odd


def _is_thought(delta: Mapping[str, Any]) -> bool:
    """Return whether Gemini marks its content as thought (ai.google.dev/gemini-api/docs/openai)."""
    extra = delta.get("extra_content")
    vendors = extra.values() if isinstance(extra, dict) else ()
    return any(isinstance(one, dict) and one.get("thought") is True for one in vendors)


def _read_text(text: Any, kind: TextType, deltas: list[Delta]) -> bool:
    """Add text of this kind; return True if it is a list of parts, as some servers send it."""
    if isinstance(text, str):
        deltas.append(kind(text))
        return False
    deltas.extend(read_parts(text, kind))
    return True
