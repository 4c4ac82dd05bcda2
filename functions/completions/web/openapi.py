"""The API as an OpenAPI document: exactly what requests are checked for, and what is answered.

Written by hand, because the dialects parse requests without models. As they do, the schemas
constrain the fields that this package checks and allow any other. Knows no routes and no settings;
tests compare it with the running app. Built on request, not at import.

Version 3.2 (spec.openapis.org/oas/v3.2.0) is the first that can describe one event of a stream
(`itemSchema`).
"""

from __future__ import annotations

from typing import Any

from completions.dialects.request import AFTER_LIMIT_MS, PHRASE_LIMIT_CHARS, PHRASES_LIMIT
from completions.settings import ON_FAILURE

Schema = dict[str, Any]


def document() -> Schema:
    """Build the document; each call returns a new one."""
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
                "post": _turn_operation("createChatCompletion", "ChatRequest", "ChatCompletion")
            },
            "/v1/responses": {
                "post": _turn_operation("createResponse", "ResponsesRequest", "Response")
            },
            "/v1/models": {
                "get": _read_operation("listModels", "What may be named", "Models", keyed=True)
            },
            "/v1/models/{model}": {
                "get": {
                    **_read_operation("retrieveModel", "One of them", "Model", keyed=True),
                    "parameters": [
                        {
                            "name": "model",
                            "in": "path",
                            "required": True,
                            "description": "Its id, which may have slashes.",
                            "schema": {"type": "string", "minLength": 1},
                        }
                    ],
                }
            },
            "/v1/openapi.json": {
                "get": _read_operation("describe", "This document", "Anything", keyed=True)
            },
            "/health": {"get": _read_operation("health", "Whether it runs", "Health", keyed=False)},
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
                "Model": _object({"id": {"type": "string"}}, "id"),
                "Health": _object({"status": {"const": "ok"}}, "status"),
                "Anything": {"type": "object"},
                "Error": _error_object(),
            },
            "responses": {
                name: _error_response(description) for name, description in _ERRORS.items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


_ERRORS = {
    "Invalid": "The request cannot be understood; param names the field.",
    "Unauthorized": "No caller key, or a wrong one.",
    "NotFound": "A model that is not served here, or what the upstream does not find.",
    "TooLarge": "More than 6 MB, which is what Lambda takes.",
    "Refused": "The upstream's own refusal, with its status and its Retry-After.",
    "Crashed": "A bug; the log has it.",
    "Failed": "No model answered; in a streamed turn that may be heard, only if it is asked for.",
    "NoKey": "A secret cannot be read; the log says what to do.",
}


_KEYED: tuple[Schema, ...] = ({"bearer": []}, {"key": []}, {"azure": []})


def _turn_operation(operation: str, request: str, answer: str) -> Schema:
    return {
        "operationId": operation,
        "summary": "One turn of a conversation",
        "security": list(_KEYED),
        "parameters": [
            {
                "name": "x-completions-on-failure",
                "in": "header",
                "description": "What a failed turn becomes: a spoken sentence, or its status.",
                "schema": {"enum": list(ON_FAILURE)},
            },
            {
                "name": "x-completions-buffer-words-after-ms",
                "in": "header",
                "description": "As `buffer_words_after_ms` in the extra body, which wins over it.",
                "schema": {"type": "integer", "minimum": 0, "maximum": AFTER_LIMIT_MS},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema_ref(request)}},
        },
        "responses": {
            "200": {
                "description": "The answer: JSON, or with stream an event stream.",
                "content": {
                    "application/json": {"schema": _schema_ref(answer)},
                    "text/event-stream": {"itemSchema": _schema_ref("Event")},
                },
            },
            **_error_responses(
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


def _read_operation(operation: str, summary: str, answer: str, *, keyed: bool) -> Schema:
    spec: Schema = {
        "operationId": operation,
        "summary": summary,
        "security": list(_KEYED) if keyed else [],
        "responses": {
            "200": {
                "description": summary,
                "content": {"application/json": {"schema": _schema_ref(answer)}},
            },
        },
    }
    if keyed:
        spec["responses"] |= _error_responses(
            {"401": "Unauthorized", "4XX": "Refused", "502": "Failed", "503": "NoKey"}
        )
    return spec


def _error_responses(by_status: dict[str, str]) -> Schema:
    return {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in by_status.items()
    }


def _error_response(description: str) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": _schema_ref("Error")}},
    }


def _error_object() -> Schema:
    text, text_or_null = {"type": "string"}, _nullable("string")
    fields = {"message": text, "type": text, "param": text_or_null, "code": text_or_null}
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
            "model": _nullable("string"),
            "stream": _nullable("boolean"),
            "stream_options": _nullable("object"),
            "tools": {**_nullable("array"), "items": tool},
            "n": _nullable("integer"),
            "max_tokens": _nullable("number"),
            "max_completion_tokens": _nullable("number"),
            "temperature": _nullable("number"),
            "response_format": _nullable("object"),
            "modalities": _nullable("array"),
            "user_id": _nullable("string", "integer"),
            "elevenlabs_extra_body": _schema_ref("ElevenLabsExtraBody"),
        },
        "messages",
    )


def _responses_request() -> Schema:
    some_text = {"type": "string", "minLength": 1}
    items = {"anyOf": _input_items()}
    some_items = {"type": "array", "minItems": 1, "items": items}
    either: list[Schema] = [
        {"input": {"anyOf": [some_text, some_items]}},
        {"instructions": some_text},
    ]
    return {
        **_object(
            {
                "input": {"anyOf": [_nullable("string"), {"type": "array", "items": items}]},
                "instructions": _nullable("string"),
                "model": _nullable("string"),
                "stream": _nullable("boolean"),
                "stream_options": _nullable("object"),
                "store": _nullable("boolean"),
                "tool_choice": _nullable("string", "object"),
                "text": {**_nullable("object"), "properties": {"format": _nullable("object")}},
                "reasoning": _nullable("object"),
                "metadata": _nullable("object"),
                "max_output_tokens": _nullable("number"),
                "max_tokens": _nullable("number"),
                "max_tool_calls": _nullable("number"),
                "temperature": _nullable("number"),
                "top_p": _nullable("number"),
                "parallel_tool_calls": _nullable("boolean"),
                "previous_response_id": _nullable("string"),
                "user_id": _nullable("string", "integer"),
                "tools": {**_nullable("array"), "items": _responses_tool()},
                "elevenlabs_extra_body": _schema_ref("ElevenLabsExtraBody"),
            }
        ),
        "anyOf": [_object(fields, *fields) for fields in either],
    }


def _input_items() -> list[Schema]:
    """Return schemas for the items of a Responses request's `input`.

    Messages, function calls, their outputs, and items of types that only the upstream knows.
    """
    some_text = {"type": "string", "minLength": 1}
    part = _object({"text": _nullable("string")})
    content = {**_nullable("string", "array"), "items": part}
    known = ["message", "function_call", "function_call_output"]
    return [
        _object(
            {"type": {"enum": ["message", None]}, "role": some_text, "content": content}, "role"
        ),
        _object(
            {"type": {"const": "function_call"}, "name": some_text, "call_id": some_text},
            *("type", "name", "call_id"),
        ),
        _object(
            # `items` constrains lists only: an output of another type is allowed.
            {
                "type": {"const": "function_call_output"},
                "call_id": some_text,
                "output": {"items": part},
            },
            *("type", "call_id"),
        ),
        _object({"type": {"type": "string", "not": {"enum": known}}}, "type"),
    ]


def _responses_tool() -> Schema:
    """Describe a function, flat or nested as in chat completions, or an upstream's own tool."""
    function = {"enum": ["function", None]}
    name = {"name": {"type": "string", "minLength": 1}}
    return {
        "anyOf": [
            _object({"type": function, **name, "function": {"type": "null"}}, "name"),
            _object({"type": function, "function": _object(name, "name")}, "function"),
            _object({"type": {"not": function}, "function": _nullable("object")}, "type"),
        ]
    }


def _extra_body() -> Schema:
    phrase = {"type": "string", "pattern": r"\S", "maxLength": PHRASE_LIMIT_CHARS}
    return {
        **_nullable("object"),
        "description": "What an agent may set for itself.",
        "properties": {
            "buffer_words": {**_nullable("array"), "items": phrase, "maxItems": PHRASES_LIMIT},
            "buffer_words_after_ms": {**_nullable("integer"), "minimum": 0, "maximum": 60_000},
            "language": _nullable("string"),
        },
    }


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _nullable(*kinds: str) -> Schema:
    """Describe a field that may be null, which counts as absent."""
    return {"type": [*kinds, "null"]}


def _schema_ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
