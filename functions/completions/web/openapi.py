"""The API as an OpenAPI document: exactly what requests are checked for, and what is answered.

Written by hand, because the dialects parse requests without models. Like them, the schemas
constrain the fields that this package checks and allow any other. Built on request, not at import.
Does not know routes or settings; tests compare it with the running app.

Version 3.2 (spec.openapis.org/oas/v3.2.0) is the first that can describe one event of a stream
(`itemSchema`).
"""

from __future__ import annotations

from completions.settings import ON_FAILURE
from completions.web.call_starts import CALL_STARTS
from completions.web.openapi_bodies import (
    Schema,
    chat_request,
    extra_body,
    nullable,
    object_with,
    responses_request,
    schema_ref,
)
from completions.web.warm import ENVIRONMENTS, ENVIRONMENTS_LIMIT


def document() -> Schema:
    """Build the document; each call returns a new one."""
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "Voice completions",
            "version": "1",
            "description": "OpenAI's APIs as a voice platform uses them. Fields that are not named "
            "here are passed on if OpenAI's API knows them, and dropped otherwise. Any path may "
            "precede /chat/completions, /responses, /models, /warm, /health and /openapi.json.",
        },
        "paths": {
            "/v1/chat/completions": {
                "post": _turn_operation("createChatCompletion", "ChatRequest", "ChatCompletion")
            },
            "/v1/responses": {
                "post": _turn_operation("createResponse", "ResponsesRequest", "Response")
            },
            "/v1/models": {
                "get": _read_operation("listModels", "The models", "Models", keyed=True)
            },
            "/v1/models/{model}": {
                "get": {
                    **_read_operation("retrieveModel", "One model", "Model", keyed=True),
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
            "/v1/warm": {"post": _warm_operation()},
            "/v1/openapi.json": {
                "get": _read_operation("describe", "This document", "Anything", keyed=True)
            },
            "/health": {"get": _read_operation("health", "Whether it runs", "Health", keyed=False)},
        },
        "components": {
            "schemas": {
                "ChatRequest": chat_request(),
                "ResponsesRequest": responses_request(),
                "ElevenLabsExtraBody": extra_body(),
                "ChatCompletion": object_with({"choices": {"type": "array"}}, "choices"),
                "Response": object_with({"output": {"type": "array"}}, "output"),
                "Event": object_with(
                    {
                        "data": {
                            "type": "string",
                            "description": "A JSON object, the upstream's or one like it; "
                            "the last event of a chat completion is [DONE].",
                        },
                        "event": {"type": "string"},
                    },
                    "data",
                ),
                "Models": object_with({"data": {"type": "array"}}, "data"),
                "Model": object_with({"id": {"type": "string"}}, "id"),
                "Health": object_with({"status": {"const": "ok"}}, "status"),
                "Warmth": _warmth(),
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
    "NotFound": "The model is not served here, or the upstream does not find something.",
    "TooLarge": "More than 6 MB, Lambda's limit.",
    "Refused": "The upstream's own refusal, with its status and its Retry-After.",
    "Crashed": "A bug; the log has it.",
    "Failed": "No model answered; in a streamed, speakable turn only if the request asks for it.",
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
                "description": "What a failed turn becomes: a spoken sentence, or an error status.",
                "schema": {"enum": list(ON_FAILURE)},
            },
            {
                "name": "x-completions-buffer-words-after-ms",
                "in": "header",
                "description": "Like `buffer_words_after_ms` in the extra body, which wins.",
                # 0 to AFTER_LIMIT_MS; an empty header, from an unset variable, counts as absent.
                "schema": {"pattern": r"^([1-5]?[0-9]{1,4}|60000)?$"},
            },
            {
                "name": "x-completions-comments",
                "in": "header",
                "description": "Ends a stream with a comment: what each request to a model did.",
                "schema": {"enum": ["candidates"]},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema_ref(request)}},
        },
        "responses": {
            "200": {
                "description": "The answer: JSON, or with stream an event stream.",
                "content": {
                    "application/json": {"schema": schema_ref(answer)},
                    "text/event-stream": {"itemSchema": schema_ref("Event")},
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
                "content": {"application/json": {"schema": schema_ref(answer)}},
            },
        },
    }
    if keyed:
        spec["responses"] |= _error_responses(
            {"401": "Unauthorized", "4XX": "Refused", "502": "Failed", "503": "NoKey"}
        )
    return spec


def _warm_operation() -> Schema:
    return {
        **_read_operation("warm", "What is ready for a call", "Warmth", keyed=True),
        "description": "Does before a call what its first turn would wait for. A platform's "
        "webhook for the start of a call gets the answer that it expects.",
        "parameters": [
            {
                "name": ENVIRONMENTS,
                "in": "query",
                "description": "How many environments should be ready, including this one: 1 to "
                f"{ENVIRONMENTS_LIMIT}. Anything else counts as 1 and is reported.",
                "schema": {},
            }
        ],
        "requestBody": {
            "required": False,
            "description": "A platform's webhook, or anything else: no body is refused.",
            "content": {"application/json": {"schema": {}}},
        },
    }


def _error_responses(by_status: dict[str, str]) -> Schema:
    return {
        status: {"$ref": f"#/components/responses/{name}"} for status, name in by_status.items()
    }


def _error_response(description: str) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema_ref("Error")}},
    }


def _warmth() -> Schema:
    plain = object_with(
        {
            "status": {"enum": ["ready", "not_ready"]},
            "ready": {"type": "array", "items": {"type": "string"}},
            "starting": {"type": "array", "items": {"type": "string"}},
            "failed": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        *("status", "ready", "starting", "failed"),
    )
    return {"anyOf": [plain, *({"const": dict(one.answer)} for one in CALL_STARTS)]}


def _error_object() -> Schema:
    text, text_or_null = {"type": "string"}, nullable("string")
    fields = {"message": text, "type": text, "param": text_or_null, "code": text_or_null}
    return object_with({"error": object_with(fields, *fields)}, "error")
