"""A strict client's reading of an answer's bytes, in either API, streamed or whole.

Written from platform.openai.com/docs/api-reference (chat-streaming, responses-streaming) and WHATWG
HTML, section 9.2, independently of the code, from which it imports nothing. Notes every breach of
the protocol and reads on as far as it can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

FINISHES = {"stop", "length", "tool_calls", "content_filter"}
_IDENTITY: dict[str, type] = {"id": str, "created": int, "model": str}


@dataclass(slots=True)
class Heard:
    """One answer."""

    breaches: list[tuple[str, str]] = field(default_factory=list)
    """A short name and the details of each breach of the protocol."""
    speech: list[tuple[int, str]] = field(default_factory=list)
    """Each spoken piece, with its milliseconds from the request."""
    reasoning: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Id, name and arguments of each."""
    finish: str = ""
    error: dict[str, Any] | None = None
    ended_ms: int = 0

    @property
    def text(self) -> str:
        """Return everything that is spoken."""
        return "".join(text for _, text in self.speech)

    def note(self, name: str, particulars: object = "") -> None:
        """Note a breach."""
        self.breaches.append((name, str(particulars)[:300]))

    def require(self, holds: object, name: str, particulars: object = "") -> bool:
        """Note a breach unless this holds; return whether it holds."""
        if not holds:
            self.note(name, particulars)
        return bool(holds)


def hear(
    status: int,
    headers: dict[str, str],
    pieces: Sequence[tuple[int, bytes]],
    *,
    chat: bool,
    streamed: bool,
) -> Heard:
    """Read an answer whose pieces came at these milliseconds."""
    heard = Heard(ended_ms=pieces[-1][0] if pieces else 0)
    body = b"".join(data for _, data in pieces)
    kind = headers.get("content-type", "")
    try:
        if status != 200 or not streamed:
            heard.require(kind == "application/json", "content type", kind)
            _read_whole(heard, status, body, chat=chat)
        elif heard.require(kind.startswith("text/event-stream"), "content type", kind):
            events = list(_events(heard, pieces))
            (_ChatStream if chat else _ResponsesStream)(heard).read(events)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        heard.note("nothing that a client could read", repr(error))
    return heard


def _decoded(heard: Heard, data: bytes | str, name: str) -> Any:
    """Return strict JSON: no NaN, no half characters, every key once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        heard.require(len(found) == len(pairs), f"{name} has a key twice", pairs)
        return found

    def never(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(data, object_pairs_hook=once, parse_constant=never)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        heard.note(f"{name} is no JSON", f"{error!r}: {data[:200]!r}")
        return None
    return value


def _events(heard: Heard, pieces: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, str, str]]:
    """Yield moment, name and data of each event before the terminator."""
    rest, ended = b"", False
    for at_ms, data in pieces:
        # WHATWG HTML, section 9.2.6, knows three line ends.
        whole = (rest + data).replace(b"\r\n", b"\n")
        held = b"\r" if whole.endswith(b"\r") else b""
        *blocks, rest = whole.removesuffix(held).replace(b"\r", b"\n").split(b"\n\n")
        rest += held
        for block in blocks:
            name, lines = "", []
            for line in block.split(b"\n"):
                label, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if label == b"event":
                    name = value.decode()
                elif label == b"data":
                    lines.append(value.decode(errors="surrogateescape"))
            if not lines:
                continue
            if not heard.require(len(lines) == 1, "an event of several lines", block):
                continue
            if not heard.require(not ended, "something behind [DONE]", block):
                continue
            if lines[0] == "[DONE]":
                ended = True
            else:
                yield at_ms, name, lines[0]
    heard.require(not rest.strip(), "half an event at the end", rest)
    heard.require(ended, "no [DONE]")


def _check_error(heard: Heard, error: Any) -> None:
    """Read OpenAI's error object."""
    fields = {"message", "type", "param", "code"}
    if heard.require(isinstance(error, dict) and set(error) >= fields, "an odd error", error):
        heard.require(isinstance(error["message"], str) and error["message"], "an empty error")
        heard.error = error
    else:
        heard.error = {}


class _ChatStream:
    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._identity: dict[str, Any] | None = None
        self._roles = 0
        self._calls: list[list[str]] = []
        self._usage = False

    def read(self, events: list[tuple[int, str, str]]) -> None:
        heard = self._heard
        for at_ms, name, data in events:
            heard.require(not name, "a named event", name)
            heard.require(heard.error is None, "something behind an error", data)
            chunk = _decoded(heard, data, "a chunk")
            if heard.require(isinstance(chunk, dict), "a chunk that is no object", data):
                self._read_chunk(at_ms, chunk)
        heard.calls = [(one[0], one[1], one[2]) for one in self._calls]
        heard.require(self._roles == 1 or (heard.error and not heard.speech), "roles", self._roles)
        heard.require(bool(heard.finish) != (heard.error is not None), "not one end")

    def _read_chunk(self, at_ms: int, chunk: dict[str, Any]) -> None:
        heard = self._heard
        if chunk.get("error"):
            _check_error(heard, chunk["error"])
            return
        heard.require(chunk.get("object") == "chat.completion.chunk", "another object", chunk)
        identity = {name: chunk.get(name) for name in _IDENTITY}
        for name, kind in _IDENTITY.items():
            right = type(identity[name]) is kind and identity[name]
            heard.require(right, f"an odd {name}", identity[name])
        self._identity = self._identity or identity
        heard.require(identity == self._identity, "another identity", (identity, self._identity))
        choices = chunk.get("choices")
        if not heard.require(isinstance(choices, list), "no choices", chunk):
            return
        usage = chunk.get("usage")
        if usage is not None:
            heard.require(isinstance(usage, dict), "odd usage", usage)
            heard.require(not choices, "usage beside a choice", chunk)
        if not choices:
            heard.require(heard.finish and usage and not self._usage, "an empty chunk", chunk)
            self._usage = True
            return
        heard.require(len(choices) == 1 and choices[0].get("index") == 0, "another choice", chunk)
        heard.require(not heard.finish, "something behind the finish", chunk)
        self._read_choice(at_ms, choices[0])

    def _read_choice(self, at_ms: int, choice: dict[str, Any]) -> None:
        heard: Heard = self._heard
        delta: Any = choice.get("delta")
        if not heard.require(isinstance(delta, dict), "no delta", choice):
            return
        if delta.get("role") is not None:
            heard.require(delta["role"] == "assistant", "an odd role", delta)
            heard.require(not heard.speech and not self._calls, "a late role", delta)
            self._roles += 1
        content = delta.get("content")
        heard.require(content is None or isinstance(content, str), "odd content", content)
        if content and isinstance(content, str):
            heard.speech.append((at_ms, content))
        for name in ("reasoning_content", "reasoning"):
            thought = delta.get(name)
            if heard.require(thought is None or isinstance(thought, str), f"odd {name}", thought):
                heard.reasoning += thought or ""
        heard.require("function_call" not in delta, "a call of the older API", delta)
        parts = delta.get("tool_calls")
        if heard.require(parts is None or isinstance(parts, list), "odd calls", parts):
            for part in parts or ():
                self._read_part(part)
        finish = choice.get("finish_reason")
        if finish is not None:
            heard.finish = str(finish) or "?"
            heard.require(finish in tuple(FINISHES), "an odd finish", finish)

    def _read_part(self, part: Any) -> None:
        heard = self._heard
        if not heard.require(isinstance(part, dict), "a piece of a call that is no object", part):
            return
        index, function = part.get("index"), part.get("function") or {}
        if index == len(self._calls):
            heard.require(isinstance(part.get("id"), str) and part["id"], "a call without id", part)
            heard.require(part.get("type") == "function", "a call of another type", part)
            heard.require(function.get("name"), "a call without a name", part)
            self._calls.append([str(part.get("id")), str(function.get("name")), ""])
        elif heard.require(
            isinstance(index, int) and 0 <= index < len(self._calls), "a call's index", part
        ):
            heard.require(not part.get("id"), "an id twice", part)
            heard.require(not function.get("name"), "a name twice", part)
        else:
            return
        arguments = function.get("arguments")
        if heard.require(arguments is None or isinstance(arguments, str), "odd arguments", part):
            self._calls[index][2] += arguments or ""


_ENDS = {"response.completed", "response.incomplete", "response.failed"}
_KNOWN = {
    "output_item",
    "content_part",
    "output_text",
    "refusal",
    "function_call_arguments",
    "reasoning_summary_part",
    "reasoning_summary_text",
    "reasoning_text",
}
"""The parts of the events that this reader checks; others are ignored."""
_LIFE = ("response.created", "response.queued", "response.in_progress", *_ENDS)


class _ResponsesStream:
    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._items: dict[int, dict[str, Any]] = {}
        self._closed: dict[int, dict[str, Any]] = {}
        self._texts: dict[tuple[int, str, int], str] = {}
        self._identity: tuple[Any, ...] | None = None

    def read(self, events: list[tuple[int, str, str]]) -> None:
        heard = self._heard
        ended = False
        for number, (at_ms, name, data) in enumerate(events):
            event = _decoded(heard, data, "an event")
            if not heard.require(isinstance(event, dict), "an event that is no object", data):
                continue
            kind = str(event.get("type"))
            heard.require(name == kind, "an event by another name", f"{name} {data[:80]}")
            heard.require(event.get("sequence_number") == number, "a sequence number", data[:120])
            heard.require((number == 0) == (kind == "response.created"), "created", kind)
            heard.require(not ended, "something behind the end", data[:120])
            if kind == "error":
                ended = True
                heard.error = heard.error or event
                heard.require(isinstance(event.get("message"), str), "an odd error", event)
            elif kind in _LIFE:
                if kind in _ENDS:
                    ended = kind != "response.failed"
                self._read_response(kind, event.get("response"))
            elif not kind.startswith("response."):
                heard.note("an event of no kind", data[:120])
            elif kind.split(".")[1] in _KNOWN:
                self._read_event(at_ms, kind, event)
        heard.require(heard.finish or heard.error is not None, "not one end")

    def _read_response(self, kind: str, response: Any) -> None:
        heard = self._heard
        if not heard.require(isinstance(response, dict), "no response", kind):
            return
        identity = tuple(response.get(name) for name in ("id", "created_at", "model", "object"))
        right = isinstance(identity[0], str) and identity[0] and isinstance(identity[2], str)
        heard.require(right, "an odd identity", identity)
        self._identity = self._identity or identity
        heard.require(identity == self._identity, "another identity", (identity, self._identity))
        if kind == "response.failed":
            error = response.get("error")
            heard.require(isinstance(error, dict) and error.get("message"), "an odd error", error)
            heard.error = error or {}
        elif kind in _ENDS:
            heard.require(self._closed.keys() == self._items.keys(), "an item that is not closed")
            output = [self._closed[index] for index in sorted(self._closed)]
            heard.require(response.get("output") == output, "another output", response)
            heard.require(response.get("status") == kind.partition(".")[2], "a status", response)
            _finish(heard, response, self._closed.values())

    def _read_event(self, at_ms: int, kind: str, event: dict[str, Any]) -> None:
        heard, index = self._heard, event.get("output_index")
        if not heard.require(isinstance(index, int), "no output index", event):
            return
        assert isinstance(index, int)
        item: Any = event.get("item")
        if kind == "response.output_item.added":
            heard.require(index == len(self._items), "an item's index", event)
            ids = {one.get("id") for one in self._items.values()}
            heard.require(isinstance(item, dict) and item.get("id") not in ids, "an item", event)
            self._items[index] = item or {}
            return
        if not heard.require(index in self._items, "an item that was not announced", event):
            return
        heard.require(index not in self._closed, "something in a closed item", event)
        if kind == "response.output_item.done":
            if heard.require(isinstance(item, dict), "no item", event):
                heard.require(item["id"] == self._items[index].get("id"), "an item's id", event)
                self._closed[index] = item
                self._close(index, item)
            return
        heard.require(event.get("item_id") == self._items[index].get("id"), "an item's id", event)
        subject, _, verb = kind.removeprefix("response.").rpartition(".")
        place = (index, subject, int(event.get("content_index", event.get("summary_index", 0))))
        if verb == "delta":
            delta = event.get("delta")
            if heard.require(isinstance(delta, str), "an odd delta", event):
                self._texts[place] = self._texts.get(place, "") + str(delta)
                if subject in {"output_text", "refusal"} and delta:
                    heard.speech.append((at_ms, str(delta)))
                elif "reasoning" in subject:
                    heard.reasoning += str(delta)
        elif verb == "done" and not subject.endswith("_part"):
            text = event.get("text", event.get("refusal", event.get("arguments")))
            heard.require(text == self._texts.get(place, ""), "another text at its end", event)

    def _close(self, index: int, item: dict[str, Any]) -> None:
        heard = self._heard
        if item.get("type") == "function_call":
            arguments = item.get("arguments")
            written = self._texts.get((index, "function_call_arguments", 0), "")
            heard.require(arguments == written, "other arguments at their end", item)
            call = (item.get("call_id"), item.get("name"), arguments)
            if heard.require(all(isinstance(each, str) for each in call), "an odd call", item):
                heard.calls.append((str(call[0]), str(call[1]), str(call[2])))
        elif item.get("type") == "message":
            content = "".join(
                str(part.get("text", part.get("refusal"))) for part in item.get("content") or ()
            )
            written = "".join(
                self._texts[place]
                for place in sorted(self._texts, key=lambda place: place[2])
                if place[0] == index and place[1] in {"output_text", "refusal"}
            )
            heard.require(content == written, "other words in a closed item", (content, written))
            heard.require(item.get("role") == "assistant", "an odd role", item)


def _finish(heard: Heard, response: dict[str, Any], items: Any) -> None:
    """Read why a response ended, as a finish reason of chat completions."""
    details = response.get("incomplete_details") or {}
    calls = any(item.get("type") == "function_call" for item in items)
    named = {None: "tool_calls" if calls else "stop", "max_output_tokens": "length"}
    heard.finish = named.get(details.get("reason"), str(details.get("reason")))
    heard.require(heard.finish in FINISHES, "an odd finish", details)


def _read_whole(heard: Heard, status: int, body: bytes, *, chat: bool) -> None:
    value = _decoded(heard, body, "the body")
    if not heard.require(isinstance(value, dict), "a body that is no object", body):
        return
    if status != 200:
        heard.require(400 <= status < 600, "an odd status", status)
        _check_error(heard, value.get("error"))
        return
    if chat:
        _read_completion(heard, value)
    elif heard.require(value.get("object") == "response", "another object", value):
        heard.require(isinstance(value.get("id"), str), "an odd id", value)
        output = value.get("output")
        if heard.require(isinstance(output, list), "no output", value):
            _read_output(heard, output)
            _finish(heard, value, output)


def _read_completion(heard: Heard, value: dict[str, Any]) -> None:
    heard.require(value.get("object") == "chat.completion", "another object", value)
    for name, kind in _IDENTITY.items():
        heard.require(type(value.get(name)) is kind and value[name], f"an odd {name}", value)
    choices = value.get("choices")
    one = isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict)
    if not heard.require(one, "not one choice", value):
        return
    choice = value["choices"][0]
    message = choice.get("message")
    if not heard.require(isinstance(message, dict), "no message", value):
        return
    heard.require(choice.get("index") == 0, "another choice", choice)
    heard.require(message.get("role") == "assistant", "an odd role", message)
    content = message.get("content")
    heard.require(content is None or isinstance(content, str), "odd content", content)
    text = content if isinstance(content, str) else ""
    if text or message.get("refusal"):
        heard.speech.append((heard.ended_ms, text or str(message.get("refusal"))))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        named = (call.get("id"), function.get("name"), function.get("arguments"))
        if heard.require(all(isinstance(each, str) for each in named), "odd call", call):
            heard.calls.append((str(named[0]), str(named[1]), str(named[2])))
    heard.finish = str(choice.get("finish_reason"))
    heard.require(heard.finish in FINISHES, "an odd finish", heard.finish)


def _read_output(heard: Heard, output: list[Any]) -> None:
    for item in output:
        if item.get("type") == "function_call":
            heard.calls.append((str(item.get("call_id")), str(item["name"]), item["arguments"]))
        elif item.get("type") == "message":
            for part in item.get("content") or ():
                text = part.get("text", part.get("refusal"))
                if heard.require(isinstance(text, str), "odd content", part):
                    heard.speech.append((heard.ended_ms, text))
