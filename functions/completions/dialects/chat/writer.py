"""Writes one Chat Completions stream: relays an upstream's SSE events and writes our own.

Strict clients want one `id`, `created` and `model` per stream, `role` once, `index` 0, tool calls
numbered from 0, and one event with a `finish_reason`, null in all before it (platform.openai.com/
docs/api-reference/chat-streaming). The first event gives the stream its identity; events with any
other identity are rewritten to match.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from completions.dialects.deltas import (
    Call,
    CallPart,
    Chunk,
    Done,
    Finish,
    Reasoning,
    Refusal,
    Rewrite,
    Text,
    Usage,
)
from completions.dialects.obfuscation import NAME, without_padding
from completions.dialects.request import ParsedRequest
from completions.errors import CompletionsError
from completions.sse import DONE, encode

_IDENTITY: dict[str, type] = {"id": str, "created": int, "model": str}
_QUOTE = ord('"')
_KIND = "chat.completion.chunk"
_ROLE = re.compile(rb'"role"\s*:\s*("assistant"|null|.)')
_IDENTITY_FIELD = re.compile(rb'"(id|object|created|model)"\s*:\s*("(?:[^"\\]|\\.)*"|\d+)\s*[,}]')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class ChatWriter:
    """See `dialect.Writer`."""

    def __init__(self, request: ParsedRequest) -> None:
        self._request = request
        self._identity: dict[str, Any] | None = None
        self._source: int | None = None
        self._head = self._tail = b"\0"
        """How the adopted upstream's events begin or end, if that holds its whole identity."""
        self._identity_fields: list[bytes] = []
        """How it spells the parts of its identity, wherever they are."""
        self._padded = False
        """True if the first event was padded, wherever the padding was."""
        self._role_sent = False
        self._calls = 0
        self._finish_event: tuple[str, bytes] | None = None
        self._usage_event: bytes | None = None
        self._ended = False

    @property
    def identity(self) -> dict[str, Any]:
        """The stream's `id`, `created` and `model`; made up if no upstream gave them."""
        if self._identity is None:
            self._identity = {
                "id": f"chatcmpl-{secrets.token_hex(12)}",
                "created": int(time.time()),
                "model": self._request.model or "model",
            }
        return self._identity

    def relay(self, chunk: Chunk) -> bytes:
        """Write an upstream's SSE event: its own bytes if nothing has to change."""
        if chunk.sse is None or not chunk.sse.data:
            return b""
        deltas = chunk.deltas
        if self._identity is None:
            self._adopt(chunk)
        raw = chunk.sse.raw if chunk.unchanged and chunk.source == self._source else b""
        if raw and not (raw.startswith(self._head) or raw.endswith(self._tail)):
            # Some upstreams change the id, the time or the model within an answer.
            for field in self._identity_fields:
                if field not in raw:
                    raw = b""
        if raw and (b'"role"' in raw or not self._role_sent) and not self._role_fits(raw):
            raw = b""
        if raw and (raw[-4] == _QUOTE or self._padded):
            # The event's last field is a text, as padding usually is.
            raw = without_padding(raw)
        if raw and len(deltas) == 1 and type(deltas[0]) is Text:
            self._role_sent = True
            return raw  # The common event comes first, for speed.
        for delta in deltas:
            if isinstance(delta, Rewrite):
                raw = b""
            elif isinstance(delta, Finish):
                self._finish_event = (delta.reason, raw) if raw and len(deltas) == 1 else None
                raw = b""
            elif isinstance(delta, Usage):
                if len(deltas) == 1:
                    self._usage_event = raw if _NO_CHOICES.search(raw) else None
                    return b""
                raw = b""
            elif isinstance(delta, CallPart) and raw:
                self._calls = max(self._calls, delta.index + 1)
            elif isinstance(delta, Done):
                raw = b""
        if raw:
            self._role_sent = True
            return raw
        return self._rewritten(chunk)

    def text(self, text: str) -> bytes:
        """Write words to speak."""
        return self._delta({"content": text})

    def buffer_words(self, text: str) -> bytes:
        """Write buffer words: in this dialect, content like any other."""
        return self.text(text)

    def reasoning(self, text: str) -> bytes:
        """Write reasoning, which is never spoken."""
        return self._delta({"reasoning_content": text})

    def call(self, call: Call) -> bytes:
        """Write a complete tool call in one delta, numbered after those already written."""
        index, self._calls = self._calls, self._calls + 1
        function = {"name": call.name, "arguments": call.arguments}
        part = {"index": index, "id": call.id, "type": "function", "function": function}
        return self._delta({"tool_calls": [part | with_extra(call)]})

    def end(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """Write finish, usage if wanted, and terminator: the upstream's own events if they fit."""
        if self._ended:
            return b""
        self._ended = True
        kept_reason, out = self._finish_event or ("", b"")
        if kept_reason != reason:
            out = self._delta({}, reason)
        if usage and self._request.wants_usage:
            out += self._usage_event or self._event([], usage=usage)
        return out + DONE

    def failure(self, error: CompletionsError) -> bytes:
        """Write an error event that makes client SDKs raise, and the terminator."""
        if self._ended:
            return b""
        self._ended = True
        return encode(to_json(error.body())) + DONE

    def _adopt(self, chunk: Chunk) -> None:
        """Take over the upstream's identity if it is complete."""
        if chunk.sse is None:
            return
        try:
            body = from_json(chunk.sse.data)
        except ValueError:
            return
        if not isinstance(body, dict):
            return
        identity = {name: body.get(name) for name in _IDENTITY}
        if all(value and isinstance(value, _IDENTITY[name]) for name, value in identity.items()):
            self._identity = identity
            if self._request.session or body.get("object") != _KIND:
                return  # Write each chunk anew, with the session's id or the right kind.
            self._source = chunk.source
            self._padded = NAME in body
            self._learn_spelling(chunk.sse.raw, {**identity, "object": _KIND})

    def _learn_spelling(self, raw: bytes, identity: Mapping[str, Any]) -> None:
        """Remember the bytes that identify events with this identity."""
        fields = [
            match
            for match in _IDENTITY_FIELD.finditer(raw)
            if from_json(match[2]) == identity[match[1].decode()]
        ]
        self._identity_fields = [match[0] for match in fields]
        whole = {name.encode() for name in identity}
        before, behind = raw.find(b'"choices"'), raw.rfind(b"]")
        if {match[1] for match in fields if match.end() <= before} == whole:
            self._head = raw[:before]
        if {match[1] for match in fields if match.start() > behind} == whole:
            self._tail = raw[behind:]

    def _role_fits(self, raw: bytes) -> bool:
        """Return True if the event names the role exactly when due: clients concatenate repeats."""
        match = _ROLE.search(raw)
        return (match[1] if match else b"null") == (b"null" if self._role_sent else b'"assistant"')

    def _rewritten(self, chunk: Chunk) -> bytes:
        """Write the chunk's deltas under this stream's identity; nothing if it has none to show."""
        delta: dict[str, Any] = {}
        parts: list[dict[str, Any]] = []
        for part in chunk.deltas:
            if isinstance(part, Text | Refusal):
                delta["content"] = delta.get("content", "") + part.text
            elif isinstance(part, Reasoning):
                delta["reasoning_content"] = delta.get("reasoning_content", "") + part.text
            elif isinstance(part, CallPart):
                parts.append(_call_part(part))
                self._calls = max(self._calls, part.index + 1)
        if parts:
            delta["tool_calls"] = parts
        return self._delta(delta) if delta else b""

    def _delta(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        if not self._role_sent:
            self._role_sent = True
            delta = {"role": "assistant", **delta}
        return self._event([{"index": 0, "delta": delta, "finish_reason": finish}])

    def _event(self, choices: list[Mapping[str, Any]], **more: Any) -> bytes:
        head = {"object": _KIND, **self.identity}
        if self._request.session:
            # Hume's EVI identifies its sessions by it, and warns of the model's own.
            head["system_fingerprint"] = self._request.session
        return encode(to_json({**head, "choices": choices, **more}))


def with_extra(call: Call | CallPart) -> dict[str, Any]:
    """Return the field of a call that only its model's API understands; empty if it has none."""
    return {"extra_content": call.extra_content} if call.extra_content else {}


def _call_part(part: CallPart) -> dict[str, Any]:
    function: dict[str, str] = {"arguments": part.arguments}
    if part.name:
        function["name"] = part.name
    head: dict[str, Any] = {"id": part.id, "type": "function"} if part.id else {}
    return {"index": part.index, **head, "function": function, **with_extra(part)}
