"""OpenAI's Responses streams, and what our writer makes of them."""

from __future__ import annotations

from completions.dialects import responses
from completions.dialects.deltas import Chunk
from completions.dialects.request import ParsedRequest
from completions.dialects.responses.writer import ResponsesWriter
from completions.sse import DONE
from local.scripted.script import CallPiece, Speech
from local.scripted.wires_responses import ResponsesStream
from tests.support.responses_rules import sse_events_of

WEATHER = CallPiece(0, '{"city":', "get_weather", "call_1")
TIME = CallPiece(1, "{}", "get_time", "call_2")


def request(*, speakable: bool = True) -> ParsedRequest:
    """Return a streamed request for the model `m`."""
    text = {} if speakable else {"text": {"format": {"type": "json_object"}}}
    return responses.parse({"model": "m", "input": "Hi", "stream": True, **text})


def upstream(*steps: Speech) -> bytes:
    """Return OpenAI's stream of this answer, terminator included."""
    wire = ResponsesStream("gpt")
    return b"".join(wire.render(step) for step in steps) + DONE


def chunks_of(data: bytes, source: int = 0) -> list[Chunk]:
    """Return the upstream's events as a turn reads them."""
    read = responses.reader()
    return [Chunk(sse, read(sse), source=source) for sse in sse_events_of(data)]


def relayed(writer: ResponsesWriter, data: bytes, source: int = 0) -> bytes:
    """Return what the writer makes of all of them."""
    return b"".join(writer.relay(one) for one in chunks_of(data, source))
