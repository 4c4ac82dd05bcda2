"""Parts of Responses requests, and the requests that an upstream receives."""

from __future__ import annotations

from typing import Any

from completions.dialects import responses
from completions.dialects.request import ParsedRequest

USER = {"role": "user", "content": "What is the weather?"}
CALL = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"a":1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FLAT = {"type": "function", "name": "get_weather", "description": "Asks.", "parameters": SCHEMA}
NESTED = {"type": "function", "function": {k: v for k, v in FLAT.items() if k != "type"}}


def assistant(text: str, kind: str = "output_text") -> dict[str, Any]:
    """Return an assistant's message in parts."""
    return {"role": "assistant", "content": [{"type": kind, "text": text}]}


def parsed_with(*items: dict[str, Any], **fields: Any) -> ParsedRequest:
    """Return a parsed, streamed request with these items."""
    return responses.parse({"model": "m", "stream": True, "input": list(items), **fields})


def sent(body: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return what the upstream receives."""
    options = {"model": "", "extra_body": {}, "clean": str, **options}
    return responses.prepare(responses.parse(body), **options).body
