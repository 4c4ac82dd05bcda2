"""A scripted model's speech as OpenAI's Responses API sends it.

Shapes and order: platform.openai.com/docs/api-reference/responses-streaming. One output item is
open at a time; `Finish` closes the last one, `Done` says that the response is complete.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from local.scripted.script import (
    CallPiece,
    Decline,
    Done,
    Fail,
    Finish,
    Role,
    Say,
    Speech,
    Think,
    Usage,
)
from local.scripted.script_player import Wire

CREATED = 1_795_338_000


class _Kind(NamedTuple):
    """The names that belong to one kind of words."""

    item: str
    """The output item's type."""
    parts: str
    """The item's field that lists its parts."""
    part: str
    """The part's type, and the middle of `response.<…>.delta`."""
    event: str
    text: str
    """The part's field with the words."""
    added: str
    """The middle of `response.<…>.added` for the part."""


_TEXT = _Kind("message", "content", "output_text", "output_text", "text", "content_part")
_REFUSAL = _Kind("message", "content", "refusal", "refusal", "refusal", "content_part")
_REASONING = _Kind(
    "reasoning",
    "summary",
    "summary_text",
    "reasoning_summary_text",
    "text",
    "reasoning_summary_part",
)


class ResponsesStream:
    """OpenAI's event sequence."""

    streamed = True

    def __init__(self, model: str) -> None:
        self._model = model
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._open: _Kind | int | None = None
        self._reason = "stop"
        self._usage = Usage()
        self._error: dict[str, Any] | None = None

    def render(self, step: Speech) -> bytes:
        """See `Wire`."""
        match step:
            case Role():
                return self._begin()
            case Say(text):
                return self._words(_TEXT, text)
            case Decline(text):
                return self._words(_REFUSAL, text)
            case Think(text):
                return self._words(_REASONING, text)
            case CallPiece():
                return self._call(step)
            case Finish(reason):
                self._reason = reason
                return self._close()
            case Usage():
                self._usage = step
                return b""
            case Fail(error):
                self._error = dict(error)
                return self._event("error", code=None, param=None, **{**error, "type": "error"})
            case Done():
                data = self._begin() + self._close()
                status = self._status()
                return data + self._event(f"response.{status}", response=self._response(status))

    def whole(self) -> bytes:
        """See `Wire`."""
        return b""

    def unstreamed(self) -> Wire:
        """See `Wire`."""
        return ResponsesWhole(self._model)

    def _begin(self) -> bytes:
        if self._sequence:
            return b""
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _words(self, kind: _Kind, text: str) -> bytes:
        data = self._begin()
        if self._open != kind:
            data += self._close()
            item: dict[str, Any] = {"type": kind.item, kind.parts: []}
            if kind is not _REASONING:
                item |= {"role": "assistant", "status": "in_progress"}
            part: dict[str, Any] = {"type": kind.part, kind.text: ""}
            if kind is _TEXT:
                part["annotations"] = []
            data += self._item(item, kind)
            data += self._event(f"response.{kind.added}.added", **self._place(kind), part=part)
            # Only now, because the item is announced empty.
            item[kind.parts] = [part]
        self._output[-1][kind.parts][0][kind.text] += text
        return data + self._event(
            f"response.{kind.event}.delta", **self._place(kind), delta=text, **_logprobs(kind)
        )

    def _call(self, step: CallPiece) -> bytes:
        data = self._begin()
        if self._open != step.index:
            data += self._close()
            item = {"type": "function_call", "call_id": step.id, "name": step.name}
            item |= {"arguments": "", "status": "in_progress"}
            data += self._item(item, step.index)
        if step.arguments:
            self._output[-1]["arguments"] += step.arguments
            data += self._event(
                "response.function_call_arguments.delta", **self._place(), delta=step.arguments
            )
        return data

    def _item(self, item: dict[str, Any], opened: _Kind | int) -> bytes:
        item["id"] = f"item_{len(self._output)}"
        self._open = opened
        self._output.append(item)
        return self._event(
            "response.output_item.added", output_index=len(self._output) - 1, item=item
        )

    def _close(self) -> bytes:
        match self._open:
            case None:
                return b""
            case int():
                item = self._output[-1]
                data = self._event(
                    "response.function_call_arguments.done",
                    **self._place(),
                    arguments=item["arguments"],
                )
            case kind:
                item = self._output[-1]
                part = item[kind.parts][0]
                data = self._event(
                    f"response.{kind.event}.done",
                    **self._place(kind),
                    **{kind.text: part[kind.text]},
                    **_logprobs(kind),
                )
                data += self._event(f"response.{kind.added}.done", **self._place(kind), part=part)
        self._open = None
        item["status"] = "completed"
        return data + self._event(
            "response.output_item.done", output_index=len(self._output) - 1, item=item
        )

    def _place(self, kind: _Kind | None = None) -> dict[str, Any]:
        place: dict[str, Any] = {"output_index": len(self._output) - 1}
        place["item_id"] = self._output[-1]["id"]
        if kind is not None:
            place["summary_index" if kind is _REASONING else "content_index"] = 0
        return place

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()

    def _status(self) -> str:
        return "completed" if self._reason in {"stop", "tool_calls"} else "incomplete"

    def _response(self, status: str) -> dict[str, Any]:
        reason = {"length": "max_output_tokens"}.get(self._reason, self._reason)
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "model": self._model,
            "output": self._output,
            "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None if status == "in_progress" else _usage(self._usage),
        }


class ResponsesWhole(ResponsesStream):
    """One JSON object: what the stream's last event would carry."""

    streamed = False

    def render(self, step: Speech) -> bytes:
        """See `Wire`."""
        super().render(step)
        return b""

    def whole(self) -> bytes:
        """See `Wire`."""
        if self._error:
            return json.dumps({"error": self._error}).encode()
        self._close()
        return json.dumps(self._response(self._status())).encode()

    def unstreamed(self) -> Wire:
        """See `Wire`."""
        return self


def _logprobs(kind: _Kind) -> dict[str, Any]:
    return {"logprobs": []} if kind is _TEXT else {}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }
