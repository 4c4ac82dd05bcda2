"""The API as an OpenAPI document: what is taken, to the letter of what is checked, and given.

Written by hand, because the dialects read requests without models: schemas say what this package
judges and let everything else through, as the dialects do. Knows no routes and no settings;
tests hold it against the running app. Built when somebody asks for it.

Version 3.2 (spec.openapis.org/oas/v3.2.0), because it is the first that can describe one event of
a stream (`itemSchema`).
"""

from __future__ import annotations

from typing import Any

from completions.dialects.request import PHRASE_LIMIT_CHARS, PHRASES_LIMIT
from completions.settings import ON_FAILURE

Schema = dict[str, Any]


def document() -> Schema:
    """The whole document, new each time."""
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "Voice completions",
            "version": "1",
            "description": "OpenAI's APIs as a voice platform uses them. Fields that are not named "
            "here are passed on if OpenAI's API knows them, else dropped. Any path may stand "
            "before /chat/completions, /responses, /models, /health and /openapi.json.",
        },
        "paths": {
            "/v1/chat/completions": {
                "post": _turn("createChatCompletion", "ChatRequest", "ChatCompletion")
            },
            "/v1/responses": {"post": _turn("createResponse", "ResponsesRequest", "Response")},
            "/v1/models": {"get": _read("listModels", "What may be named", "Models", keyed=True)},
            "/v1/openapi.json": {"get": _read("describe", "This document", "Anything", keyed=True)},
            "/health": {"get": _read("health", "Whether it runs", "Health", keyed=False)},
        },
        "components": {
            "schemas": {
                "ChatRequest": _chat_request(),
                "ResponsesRequest": _responses_request(),
                "ElevenLabsExtraBody": _extra_body(),
                "ChatCompletion": _object({"choices": {"type": "array"}}, "choices"),
                "Response": _object({"output": {"type": "array"}}, "output"),
                "Event": _object(
                    {
                        "data": {
                            "type": "string",
                            "description": "A JSON object, the upstream's or one like it; "
                            "the last one of a chat completion is [DONE].",
                        },
                        "event": {"type": "string"},
                    },
                    "data",
                ),
                "Models": _object({"data": {"type": "array"}}, "data"),
                "Health": _object({"status": {"const": "ok"}}, "status"),
                "Anything": {"type": "object"},
                "Error": _error(),
            },
            "responses": {name: _failure(words) for name, words in _FAILURES.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


_FAILURES = {
    "Invalid": "The request cannot be understood; param names the field.",
    "Unauthorized": "No caller key, or a wrong one.",
    "NotFound": "A model that is not served here, or what the upstream does not find.",
    "TooLarge": "More than 6 MB, which is what Lambda takes.",
    "Refused": "The upstream's own refusal, with its status and its Retry-After.",
    "Crashed": "A bug; the log has it.",
    "Failed": "No model answered; in a streamed turn that may be heard, only if it is asked for.",
    "NoKey": "A secret cannot be read; the log says what to do.",
}


def _turn(operation: str, request: str, answer: str) -> Schema:
    return {
        "operationId": operation,
        "summary": "One turn of a conversation",
        "security": [{"bearer": []}, {"key": []}],
        "parameters": [
            {
                "name": "x-completions-on-failure",
                "in": "header",
                "description": "What a failed turn becomes: a spoken sentence, or its status.",
                "schema": {"enum": list(ON_FAILURE)},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(request)}},
        },
        "responses": {
            "200": {
                "description": "The answer: JSON, or with stream an event stream.",
                "content": {
                    "application/json": {"schema": _ref(answer)},
                    "text/event-stream": {"itemSchema": _ref("Event")},
                },
            },
            **_failures(
                {
                    "400": "Invalid",
                    "401": "Unauthorized",
                    "404": "NotFound",
                    "413": "TooLarge",
                    "4XX": "Refused",
                    "500": "Crashed",
                    "502": "Failed",
                    "503": "NoKey",
                    "504": "Failed",
                    "5XX": "Refused",
                }
            ),
        },
    }


def _read(operation: str, summary: str, answer: str, *, keyed: bool) -> Schema:
    described: Schema = {
        "operationId": operation,
        "summary": summary,
        "security": [{"bearer": []}, {"key": []}] if keyed else [],
        "responses": {
            "200": {
                "description": summary,
                "content": {"application/json": {"schema": _ref(answer)}},
            },
        },
    }
    if keyed:
        described["responses"] |= _failures(
            {"401": "Unauthorized", "4XX": "Refused", "502": "Failed", "503": "NoKey"}
        )
    return described


def _failures(by_status: dict[str, str]) -> Schema:
    return {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in by_status.items()
    }


def _failure(words: str) -> Schema:
    return {"description": words, "content": {"application/json": {"schema": _ref("Error")}}}


def _error() -> Schema:
    text, maybe = {"type": "string"}, {"type": ["string", "null"]}
    fields = {"message": text, "type": text, "param": maybe, "code": maybe}
    return _object({"error": _object(fields, *fields)}, "error")


def _chat_request() -> Schema:
    message = _object(
        {
            "role": {"type": "string"},
            "content": {"type": ["string", "array", "null"]},
            "tool_calls": {"type": ["array", "null"]},
        },
        "role",
    )
    tool = _object({"function": {"type": ["object", "null"]}})
    return _object(
        {
            "messages": {"type": "array", "minItems": 1, "items": message},
            "model": _maybe("string"),
            "stream": _maybe("boolean"),
            "stream_options": _maybe("object"),
            "tools": {**_maybe("array"), "items": tool},
            "n": _maybe("integer"),
            "max_tokens": _maybe("number"),
            "max_completion_tokens": _maybe("number"),
            "temperature": _maybe("number"),
            "response_format": _maybe("object"),
            "modalities": _maybe("array"),
            "user_id": _maybe("string", "integer"),
            "elevenlabs_extra_body": _ref("ElevenLabsExtraBody"),
        },
        "messages",
    )


def _responses_request() -> Schema:
    word = {"type": "string", "minLength": 1}
    given = {"type": "array", "minItems": 1, "items": {"anyOf": _items()}}
    something: list[Schema] = [{"input": {"anyOf": [word, given]}}, {"instructions": word}]
    return {
        **_object(
            {
                "input": {"anyOf": [_maybe("string"), {"type": "array", "items": given["items"]}]},
                "instructions": _maybe("string"),
                "model": _maybe("string"),
                "stream": _maybe("boolean"),
                "stream_options": _maybe("object"),
                "store": _maybe("boolean"),
                "tool_choice": _maybe("string", "object"),
                "text": {**_maybe("object"), "properties": {"format": _maybe("object")}},
                "reasoning": _maybe("object"),
                "metadata": _maybe("object"),
                "max_output_tokens": _maybe("number"),
                "max_tokens": _maybe("number"),
                "max_tool_calls": _maybe("number"),
                "temperature": _maybe("number"),
                "top_p": _maybe("number"),
                "parallel_tool_calls": _maybe("boolean"),
                "previous_response_id": _maybe("string"),
                "user_id": _maybe("string", "integer"),
                "tools": {**_maybe("array"), "items": _tool()},
                "elevenlabs_extra_body": _ref("ElevenLabsExtraBody"),
            }
        ),
        "anyOf": [_object(fields, *fields) for fields in something],
    }


def _items() -> list[Schema]:
    """Of a Responses request: what is said, called and answered, and what only upstreams know."""
    word = {"type": "string", "minLength": 1}
    part = _object({"text": _maybe("string")})
    content = {**_maybe("string", "array"), "items": part}
    known = ["message", "function_call", "function_call_output"]
    return [
        _object({"type": {"enum": ["message", None]}, "role": word, "content": content}, "role"),
        _object(
            {"type": {"const": "function_call"}, "name": word, "call_id": word},
            *("type", "name", "call_id"),
        ),
        _object(
            # Whatever it is; if it is a list, of parts.
            {"type": {"const": "function_call_output"}, "call_id": word, "output": {"items": part}},
            *("type", "call_id"),
        ),
        _object({"type": {"type": "string", "not": {"enum": known}}}, "type"),
    ]


def _tool() -> Schema:
    """A function, flat or nested as in chat completions; or a tool that the upstream has."""
    function = {"enum": ["function", None]}
    name = {"name": {"type": "string", "minLength": 1}}
    return {
        "anyOf": [
            _object({"type": function, **name, "function": {"type": "null"}}, "name"),
            _object({"type": function, "function": _object(name, "name")}, "function"),
            _object({"type": {"not": function}, "function": _maybe("object")}, "type"),
        ]
    }


def _extra_body() -> Schema:
    phrase = {"type": "string", "pattern": r"\S", "maxLength": PHRASE_LIMIT_CHARS}
    return {
        **_maybe("object"),
        "description": "What an agent may set for itself.",
        "properties": {
            "buffer_words": {**_maybe("array"), "items": phrase, "maxItems": PHRASES_LIMIT},
            "buffer_words_after_ms": {**_maybe("integer"), "minimum": 0, "maximum": 60_000},
            "language": _maybe("string"),
        },
    }


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _maybe(*kinds: str) -> Schema:
    """A field that may be null, as good as absent."""
    return {"type": [*kinds, "null"]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
