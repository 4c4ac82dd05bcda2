"""How model APIs refuse: the body of a refusal in each provider's shape.

From their documentation and public reports, in our own words where theirs do not matter. Not
tried against any provider. What is refused is in `rules`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.scripted.script import Reply


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal."""

    words: str
    fields: tuple[str, ...] = ()
    """Paths like `messages[0].name`, if it is about fields."""
    code: str | None = None


Shape = Callable[[Refused], Reply]


def _reply(body: Any, status: int = 400) -> Reply:
    return Reply(json.dumps(body).encode(), status)


def _error(refused: Refused, **more: Any) -> dict[str, Any]:
    error = {"message": refused.words, "type": "invalid_request_error", "param": None, "code": None}
    return {"error": {**error, **more}}


def openai(refused: Refused) -> Reply:
    """`param` names the first field."""
    param = refused.fields[0] if refused.fields else None
    return _reply(_error(refused, param=param, code=refused.code))


def nameless(refused: Refused) -> Reply:
    """OpenAI's shape, with the field in the words only: Groq, Ollama."""
    return _reply(_error(refused))


def deepseek(refused: Refused) -> Reply:
    """A body that its parser cannot read is a 422."""
    return _reply(_error(refused), 422 if refused.words.startswith("Failed to") else 400)


def gemini(refused: Refused) -> Reply:
    """The error in a list."""
    error = {"code": 400, "message": refused.words, "status": "INVALID_ARGUMENT"}
    return _reply([{"error": error}])


def anthropic(refused: Refused) -> Reply:
    """A type on both levels."""
    error = {"type": "invalid_request_error", "message": refused.words}
    return _reply({"type": "error", "error": error})


def mistral(refused: Refused) -> Reply:
    """Pydantic's details for fields, several at once; words and a code for histories."""
    if refused.fields:
        details = [
            {
                "type": "extra_forbidden",
                "loc": ["body", *_steps(field)],
                "msg": "Extra inputs are not permitted",
            }
            for field in refused.fields
        ]
        body = {"object": "error", "message": {"detail": details}, "param": None, "code": None}
        return _reply(body, 422)
    kind = {"type": "invalid_request_message_order", "param": None, "code": refused.code or "3230"}
    return _reply({"object": "error", "message": refused.words, **kind})


def _steps(path: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]


def cerebras(refused: Refused) -> Reply:
    """No `error` around it."""
    kind = {"type": "invalid_request_error", "param": "validation_error"}
    return _reply({"message": refused.words, **kind, "code": "wrong_api_format"}, 422)


def openrouter(refused: Refused) -> Reply:
    """The reason is text in `metadata.raw`."""
    raw = json.dumps({"type": "error", "error": {"type": "invalid", "message": refused.words}})
    metadata = {"raw": raw, "provider_name": "Anthropic"}
    return _reply(
        {"error": {"message": "Provider returned error", "code": 400} | {"metadata": metadata}}
    )


def vllm(refused: Refused) -> Reply:
    """The error is the body."""
    kind = {"type": "BadRequestError", "param": None, "code": 400}
    return _reply({"object": "error", "message": refused.words, **kind})


def llama_cpp(refused: Refused) -> Reply:
    """A template's refusal is a 500."""
    words = f"Error rendering template: {refused.words}"
    return _reply({"error": {"code": 500, "type": "server_error", "message": words}}, 500)


def dashscope(refused: Refused) -> Reply:
    """The words begin with a code."""
    words = f"<400> InternalError.Algo.InvalidParameter: {refused.words}"
    return _reply(_error(refused, message=words, code="invalid_parameter_error"))


def minimax(refused: Refused) -> Reply:
    """The words name no field."""
    words = "invalid params, invalid chat setting (2013)"
    error = {"type": "bad_request_error", "message": words, "http_code": "400"}
    return _reply({"type": "error", "error": error})


def bedrock(refused: Refused) -> Reply:
    """AWS's own shape."""
    return _reply({"message": refused.words})


def litellm(refused: Refused) -> Reply:
    """The words begin with an exception's name; the code is text."""
    words = f"litellm.BadRequestError: MistralException - {refused.words}"
    if refused.fields:
        named = [field.partition("[")[0] for field in refused.fields]
        words = (
            f"litellm.UnsupportedParamsError: mistral does not support parameters: {named}, "
            "for model=mistral-small."
        )
    return _reply(_error(refused, message=words, type=None, code="400"))


def xai(refused: Refused) -> Reply:
    """`error` is text."""
    return _reply({"code": "Client specified an invalid argument", "error": refused.words})
