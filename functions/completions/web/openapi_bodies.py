"""The bodies of turns as JSON Schemas, and functions to build schemas.

Like the dialects, they constrain the fields that this package checks and allow any other.
"""

from __future__ import annotations

from typing import Any

from completions.dialects.request import AFTER_LIMIT_MS, PHRASE_LIMIT_CHARS, PHRASES_LIMIT

Schema = dict[str, Any]


def chat_request() -> Schema:
    """Describe a chat completions request."""
    message = object_with(
        {
            "role": {"type": "string"},
            "content": {"type": ["string", "array", "null"]},
            "tool_calls": {"type": ["array", "null"]},
        },
        "role",
    )
    tool = object_with({"function": {"type": ["object", "null"]}})
    return object_with(
        {
            "messages": {"type": "array", "minItems": 1, "items": message},
            "model": nullable("string"),
            "stream": nullable("boolean"),
            "stream_options": nullable("object"),
            "tools": {**nullable("array"), "items": tool},
            "n": nullable("integer"),
            "max_tokens": nullable("number"),
            "max_completion_tokens": nullable("number"),
            "temperature": nullable("number"),
            "response_format": nullable("object"),
            "modalities": nullable("array"),
            "user_id": nullable("string", "integer"),
            "elevenlabs_extra_body": schema_ref("ElevenLabsExtraBody"),
        },
        "messages",
    )


def responses_request() -> Schema:
    """Describe a Responses request."""
    some_text = {"type": "string", "minLength": 1}
    items = {"anyOf": _input_items()}
    some_items = {"type": "array", "minItems": 1, "items": items}
    either: list[Schema] = [
        {"input": {"anyOf": [some_text, some_items]}},
        {"instructions": some_text},
    ]
    return {
        **object_with(
            {
                "input": {"anyOf": [nullable("string"), {"type": "array", "items": items}]},
                "instructions": nullable("string"),
                "model": nullable("string"),
                "stream": nullable("boolean"),
                "stream_options": nullable("object"),
                "store": nullable("boolean"),
                "tool_choice": nullable("string", "object"),
                "text": {**nullable("object"), "properties": {"format": nullable("object")}},
                "reasoning": nullable("object"),
                "metadata": nullable("object"),
                "max_output_tokens": nullable("number"),
                "max_tokens": nullable("number"),
                "max_tool_calls": nullable("number"),
                "temperature": nullable("number"),
                "top_p": nullable("number"),
                "parallel_tool_calls": nullable("boolean"),
                "previous_response_id": nullable("string"),
                "user_id": nullable("string", "integer"),
                "tools": {**nullable("array"), "items": _responses_tool()},
                "elevenlabs_extra_body": schema_ref("ElevenLabsExtraBody"),
            }
        ),
        "anyOf": [object_with(fields, *fields) for fields in either],
    }


def _input_items() -> list[Schema]:
    """Return schemas for the items of a Responses request's `input`.

    Messages, function calls, their outputs, and items of types that only the upstream knows.
    """
    some_text = {"type": "string", "minLength": 1}
    part = object_with({"text": nullable("string")})
    content = {**nullable("string", "array"), "items": part}
    known = ["message", "function_call", "function_call_output"]
    return [
        object_with(
            {"type": {"enum": ["message", None]}, "role": some_text, "content": content}, "role"
        ),
        object_with(
            {"type": {"const": "function_call"}, "name": some_text, "call_id": some_text},
            *("type", "name", "call_id"),
        ),
        object_with(
            # `items` constrains lists only: an output of another type is allowed.
            {
                "type": {"const": "function_call_output"},
                "call_id": some_text,
                "output": {"items": part},
            },
            *("type", "call_id"),
        ),
        object_with({"type": {"type": "string", "not": {"enum": known}}}, "type"),
    ]


def _responses_tool() -> Schema:
    """Describe a function, flat or nested as in chat completions, or an upstream's own tool."""
    function = {"enum": ["function", None]}
    name = {"name": {"type": "string", "minLength": 1}}
    return {
        "anyOf": [
            object_with({"type": function, **name, "function": {"type": "null"}}, "name"),
            object_with({"type": function, "function": object_with(name, "name")}, "function"),
            object_with({"type": {"not": function}, "function": nullable("object")}, "type"),
        ]
    }


def extra_body() -> Schema:
    """Describe `elevenlabs_extra_body`."""
    phrase = {"type": "string", "pattern": r"\S", "maxLength": PHRASE_LIMIT_CHARS}
    return {
        **nullable("object"),
        "description": "What an agent may set for itself.",
        "properties": {
            "buffer_words": {**nullable("array"), "items": phrase, "maxItems": PHRASES_LIMIT},
            "buffer_words_after_ms": {
                **nullable("integer"),
                "minimum": 0,
                "maximum": AFTER_LIMIT_MS,
            },
            "language": nullable("string"),
        },
    }


def object_with(properties: Schema, *required: str) -> Schema:
    """Describe an object that may also have other fields."""
    return {"type": "object", "properties": properties, "required": list(required)}


def nullable(*kinds: str) -> Schema:
    """Describe a field that may be null, which counts as absent."""
    return {"type": [*kinds, "null"]}


def schema_ref(name: str) -> Schema:
    """Refer to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}
