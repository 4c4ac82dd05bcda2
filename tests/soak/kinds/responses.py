"""Responses that omit, repeat or misname parts of the protocol."""

from __future__ import annotations

import re
from typing import Any

from tests.soak.kinds.kind import RESPONSES, kind
from tests.soak.script import Acts, Answer

_EVENT = re.compile(rb"event: (\S+)\n[^\n]*\n\n")


def _events(answer: Answer) -> list[tuple[str, bytes]]:
    """Return the events of a good answer, named."""
    data = b"".join(answer.good())
    return [(match[1].decode(), match[0]) for match in _EVENT.finditer(data)]


def _without(name: str, pattern: str, *, good: bool = True) -> None:
    @kind(f"a response without {name}", streams=True, apis=RESPONSES, good=good)
    def _left_out(answer: Answer) -> Acts:
        for event, data in _events(answer):
            if not re.search(pattern, event):
                yield data


_without("created", r"created")
_without("progress", r"in_progress")
_without("items", r"output_item")
_without("parts", r"content_part")
_without("deltas", r"delta$")
_without("text done", r"output_text\.done")
_without("anything but deltas and its end", r"added|done$|created|progress")
_without("anything but its end", r"added|done$|created|progress|delta$")
_without("an end", r"completed", good=False)


@kind("a response each of whose events comes twice", streams=True, apis=RESPONSES, good=True)
def _doubled(answer: Answer) -> Acts:
    for event, data in _events(answer):
        yield data if event.endswith("delta") else data + data


def _renamed(name: str, old: bytes, new: bytes, *, good: bool = True) -> None:
    @kind(f"a response {name}", streams=True, apis=RESPONSES, good=good)
    def _replaced(answer: Answer) -> Acts:
        for _, data in _events(answer):
            yield re.sub(old, new, data)


_renamed("without event lines", rb"event: .*\n", b"")
_renamed("with wrong event lines", rb"event: .*\n", b"event: message\n")
_renamed("without numbers", rb'"sequence_number": \d+, ', b"")
_renamed("with equal numbers", rb'"sequence_number": \d+', b'"sequence_number": 0')
_renamed("with numbers that are text", rb'"sequence_number": (\d+)', rb'"sequence_number": "\1"')
_renamed("without item ids", rb'"item_id": "[^"]*", ', b"")
_renamed("with changing ids", rb'"id": "resp_1"(?=.*completed)', b'"id": "resp_2"')
_renamed("without indices", rb'"(output|content)_index": \d+, ', b"")
_renamed("without an id", rb'"id": "resp_1", ', b"")
_renamed("without a model", rb'"model": "[^"]*", ', b"")
_renamed("with null output", rb'"output": \[\]', b'"output": null')
_renamed("without types", rb'"type": "response\.[a-z_.]*", ', b"")


@kind("items of unknown kinds", streams=True, apis=RESPONSES, good=True)
def _unknown_items(answer: Answer) -> Acts:
    for event, data in _events(answer):
        yield data
        if event == "response.created":
            item: dict[str, Any] = {"type": "hologram", "id": "h"}
            yield answer.event("response.output_item.added", output_index=9, item=item)
            yield answer.event("response.hologram.delta", output_index=9, item_id="h", delta="x")
            yield answer.event("response.output_item.done", output_index=9, item=item)
