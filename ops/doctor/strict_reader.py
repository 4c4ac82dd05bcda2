"""Reads a streamed answer like a strict client: its words, its calls, and each broken rule.

Written from platform.openai.com/docs/api-reference (chat-streaming, responses-streaming),
independently of the function, whose own reading is not trusted here. A broken rule is a `Trouble`,
named as in `causes`. Does not know HTTP, or what is slow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.doctor.events import Event, Stream

FINISHES = {"stop", "length", "tool_calls", "content_filter"}
ENDS = {"response.completed", "response.incomplete", "response.failed"}
FAILURE_SENTENCE = "Sorry, something went wrong on my side, could you say that again, please?"
DECLINED_SENTENCE = (
    "I'm sorry, I can't help with that here, is there anything else I can do for you?"
)
CUT_SENTENCES = (
    "Sorry, let me start over.",
    "Sorry, I lost the rest of that, please ask me again.",
)
"""The deployment's own words, in the language that each of our requests asks for."""
_BUFFER_WORDS = re.compile(r"[^.]*\.\.\. ")
"""Buffer words end in exactly three dots and a space (ElevenLabs, "Custom LLM", buffer words)."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong: its name in `causes`, and what was seen."""

    cause: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, put together."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Heard:
    """One answer."""

    words: list[tuple[float, str]] = field(default_factory=list)
    """Each piece to be spoken, with its arrival in ms."""
    calls: list[Call] = field(default_factory=list)
    called_at_ms: float | None = None
    troubles: list[Trouble] = field(default_factory=list)
    events: int = 0

    @property
    def text(self) -> str:
        """All spoken text."""
        return "".join(text for _, text in self.words)

    @property
    def first_words_ms(self) -> float | None:
        """When the caller first hears a letter or digit, ours or the model's, or a call."""
        spoken = [at_ms for at_ms, text in self.words if any(map(str.isalnum, text))]
        return min(
            [*spoken, *([] if self.called_at_ms is None else [self.called_at_ms])], default=None
        )

    @property
    def model_words(self) -> list[tuple[float, str]]:
        """The same without the buffer words at its beginning."""
        words = [(at_ms, text) for at_ms, text in self.words if text]
        buffer_words = 0
        while buffer_words < len(words) and is_buffer_words(words[buffer_words][1]):
            buffer_words += 1
        return words[buffer_words:]

    @property
    def had_buffer_words(self) -> bool:
        """True if the answer opens with some."""
        return len(self.model_words) < sum(1 for _, text in self.words if text)

    def breaks(self, cause: str, detail: str = "") -> None:
        """Note a broken rule, each one once."""
        if all(trouble.cause != cause for trouble in self.troubles):
            self.troubles.append(Trouble(cause, detail))


def is_buffer_words(piece: str) -> bool:
    """Return True if a piece of an answer is buffer words."""
    return _BUFFER_WORDS.fullmatch(piece) is not None


def hear(stream: Stream, *, responses: bool) -> Heard:
    """Read one answer to its end, in either dialect."""
    heard = Heard(events=len(stream.events))
    if not stream.events:
        heard.breaks("empty_stream", f"{len(stream.rest)} bytes, no event")
        return heard
    if stream.odd:
        heard.breaks("not_sse", _shown(stream.odd))
    terminators = [i for i, event in enumerate(stream.events) if event.data == b"[DONE]"]
    if stream.rest:
        heard.breaks("unfinished_event", _shown(stream.rest))
    elif not terminators:
        heard.breaks(
            "no_terminator", f"the last event ends in {_shown(stream.events[-1].data[-40:])}"
        )
    elif terminators != [len(stream.events) - 1]:
        heard.breaks("after_terminator", f"{len(stream.events) - 1 - terminators[0]} events more")
    chunks = [
        (event, chunk)
        for event in stream.events
        if event.data != b"[DONE]" and (chunk := _decoded(event, heard)) is not None
    ]
    (_responses if responses else _chat)(chunks, heard)
    if "<think>" in heard.text:
        heard.breaks("thinks_aloud", "<think> is read out")
    if FAILURE_SENTENCE in heard.text:
        heard.breaks("failure_sentence", heard.text[-90:])
    if DECLINED_SENTENCE in heard.text:
        heard.breaks("declined", heard.text[-90:])
    for sentence in CUT_SENTENCES:
        if sentence in heard.text:
            heard.breaks("cut_answer", sentence)
    for call in heard.calls:
        _judge(call, heard)
    spoken = any(map(str.isalnum, "".join(text for _, text in heard.model_words)))
    if not spoken and not heard.calls and not heard.troubles:
        only = "buffer words" if heard.had_buffer_words else "no words"
        heard.breaks("silent", f"{heard.events} events, {only}, no tool call")
    return heard


def _shown(data: bytes) -> str:
    return repr(data[:60].decode("utf-8", "replace"))


def _decoded(event: Event, heard: Heard) -> dict[str, Any] | None:
    try:
        text = event.data.decode("utf-8")
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        heard.breaks("bad_json", _shown(event.data))
        return None
    if rest := text[end:].strip():
        heard.breaks("glued_json", f"behind the first value: {_shown(rest.encode())}")
        return None
    if not isinstance(value, dict):
        heard.breaks("bad_json", f"no object: {_shown(event.data)}")
        return None
    error = value.get("error")
    if error:
        message = error.get("message") if isinstance(error, Mapping) else error
        code = error.get("code") if isinstance(error, Mapping) else None
        heard.breaks("error_frame", f"{code or 'error'}: {message}"[:200])
        return None
    return value


def _chat(chunks: Sequence[tuple[Event, dict[str, Any]]], heard: Heard) -> None:
    # NOTE: `created` should stay the same, too, but no client minds, and llama.cpp's changes.
    for name in ("id", "model"):
        if len({str(chunk.get(name)) for _, chunk in chunks}) > 1:
            heard.breaks("changing_identity", f"`{name}` changes in mid-stream")
    roles = 0
    finish = ""
    parts: list[dict[str, str]] = []
    for position, (event, chunk) in enumerate(chunks):
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            heard.breaks("not_the_dialect", f"an event without `choices`: {_shown(event.data)}")
            return
        for choice in choices:
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                heard.breaks("not_the_dialect", f"a choice without `delta`: {_shown(event.data)}")
                return
            if finish:
                heard.breaks("after_finish", _shown(event.data))
            if delta.get("role"):
                roles += 1
                if position or delta["role"] != "assistant":
                    heard.breaks("odd_role", f"{delta['role']!r} in event {position + 1}")
            text = delta.get("content")
            if isinstance(text, str) and text:
                heard.words.append((event.at_ms, text))
            for part in delta.get("tool_calls") or ():
                _add(part, parts, event, heard)
            finish = choice.get("finish_reason") or finish
    if not roles and chunks:
        heard.breaks("no_role", "no event says `role: assistant`")
    if finish not in FINISHES and not any(t.cause == "error_frame" for t in heard.troubles):
        heard.breaks("no_finish", f"finish_reason is {finish!r}" if finish else "")
    heard.calls = [Call(p["id"], p["name"], p["arguments"]) for p in parts]


def _add(part: Any, parts: list[dict[str, str]], event: Event, heard: Heard) -> None:
    function = part.get("function") if isinstance(part, dict) else None
    index = part.get("index") if isinstance(part, dict) else None
    if not isinstance(function, dict) or not isinstance(index, int) or index > len(parts):
        heard.breaks("bad_call", _shown(event.data))
        return
    if index == len(parts):
        parts.append({"id": "", "name": "", "arguments": ""})
    call = parts[index]
    call["id"] += part.get("id") or ""
    call["name"] += function.get("name") or ""
    call["arguments"] += function.get("arguments") or ""
    heard.called_at_ms = event.at_ms


def _judge(call: Call, heard: Heard) -> None:
    try:
        whole = isinstance(json.loads(call.arguments), dict)
    except ValueError:
        whole = False
    if not whole or not call.id or not call.name:
        heard.breaks("bad_call", f"{call.name or 'no name'}({call.arguments[:60]})")


def _responses(chunks: Sequence[tuple[Event, dict[str, Any]]], heard: Heard) -> None:
    kinds = []
    ids = set()
    for position, (event, chunk) in enumerate(chunks):
        kind = chunk.get("type")
        if not isinstance(kind, str):
            heard.breaks("not_the_dialect", f"an event without `type`: {_shown(event.data)}")
            return
        if event.name != kind:
            heard.breaks("not_the_dialect", f"event: {event.name or '(none)'}, type: {kind}")
        kinds.append(kind)
        if chunk.get("sequence_number") != position:
            heard.breaks("changing_identity", f"sequence_number of event {position} is another")
        response = chunk.get("response")
        if isinstance(response, dict):
            ids.add(response.get("id"))
        if kind in {"response.output_text.delta", "response.refusal.delta"}:
            heard.words.append((event.at_ms, str(chunk.get("delta") or "")))
        item = chunk.get("item")
        done = item if kind == "response.output_item.done" and isinstance(item, dict) else {}
        if done.get("type") == "function_call":
            names = ("call_id", "name", "arguments")
            heard.calls.append(Call(*(str(done.get(name) or "") for name in names)))
            heard.called_at_ms = event.at_ms
    if len(ids) > 1:
        heard.breaks("changing_identity", "the response's id changes in mid-stream")
    if not kinds:
        return
    if kinds[0] != "response.created" or kinds.count("response.created") > 1:
        heard.breaks("no_role", "`response.created` is not the first event, and once")
    ends = [kind for kind in kinds if kind in ENDS]
    if len(ends) != 1 or ends[0] == "response.failed":
        heard.breaks("no_finish", " ".join(ends) or "no `response.completed`")
    elif kinds[-1] not in ENDS:
        heard.breaks("after_finish", kinds[-1])
