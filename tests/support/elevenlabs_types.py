"""Find the parts of a request or an answer that the elevenlabs SDK's own types do not know.

Runs in the environment of `make connect`, which has the SDK: a line of JSON in, a line out. The SDK
keeps unknown fields and accepts wrong values, so its models cannot be used as they are. It also
runs `make connect` there.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pydantic
from elevenlabs import types as models
from elevenlabs.conversational_ai.agents.raw_client import RawAgentsClient
from elevenlabs.conversational_ai.secrets.raw_client import RawSecretsClient

NOT_IN_THE_BODY = {"agent_id", "secret_id", "branch_id", "request_options", "return"}
# The SDK's method that sends a body, and the arguments that it adds.
OPERATIONS = {
    "agents.update": (RawAgentsClient.update, {}),
    "secrets.create": (RawSecretsClient.create, {"type": "new"}),
    "secrets.update": (RawSecretsClient.update, {"type": "update"}),
}


def of_answer(model: str, value: Any) -> list[str]:
    return problems(getattr(models, model), value, model)


def of_request(operation: str, body: dict[str, Any]) -> list[str]:
    method, fixed = OPERATIONS[operation]
    hints = {
        name: hint
        for name, hint in typing.get_type_hints(method).items()
        if name not in NOT_IN_THE_BODY
    }
    parameters = inspect.signature(method).parameters
    found = [f"{operation}.{name}: unknown" for name in body.keys() - hints.keys() - fixed.keys()]
    found += [
        f"{operation}.{name}: is not {fixed[name]}"
        for name in fixed
        if body.get(name) != fixed[name]
    ]
    for name, hint in hints.items():
        if name in body:
            found += problems(hint, body[name], f"{operation}.{name}")
        elif parameters[name].default is inspect.Parameter.empty:
            found.append(f"{operation}.{name}: missing")
    return found


def problems(kind: Any, value: Any, path: str) -> list[str]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return problems(inner[0], value, path)
    if origin in {typing.Union, types.UnionType}:
        # A list of known names "or anything": what we send should be a known name.
        known = [one for one in inner if one is not Any]
        if value is None and type(None) in known:
            return []
        tried = [problems(one, value, path) for one in known if one is not type(None)]
        return min(tried, key=len, default=[])
    if kind is Any:
        return []
    if origin is typing.Literal:
        return [] if value in inner else [f"{path}: {value!r} is not known"]
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            return [f"{path}: not an object"]
        return [
            each
            for name, one in value.items()
            for each in problems(inner[1], one, f"{path}.{name}")
        ]
    if origin is not None:
        if not isinstance(value, list):
            return [f"{path}: not a list"]
        return [each for one in value for each in problems(inner[0], one, f"{path}[]")]
    if inspect.isclass(kind) and issubclass(kind, pydantic.BaseModel):
        return of_model(kind, value, path)
    try:
        pydantic.TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as error:
        return [f"{path}: {error.errors()[0]['msg']}"]
    return []


def of_model(kind: type[pydantic.BaseModel], value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: no {kind.__name__}"]
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    found = [f"{path}.{name}: unknown" for name in value.keys() - fields.keys()]
    for name, field in fields.items():
        if name in value:
            found += problems(field.annotation, value[name], f"{path}.{name}")
        elif field.is_required():
            found.append(f"{path}.{name}: missing")
    return found


def run(_: str, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run `make connect` in this process, without the second that its imports take."""
    from ops.connect.__main__ import main

    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()) as errors,
        ):
            try:
                status = main([])
            except SystemExit as end:
                status = int(end.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return status, output.getvalue(), errors.getvalue()


VERBS: dict[str, Callable[[str, Any], Any]] = {
    "request": of_request,
    "answer": of_answer,
    "run": run,
}

if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(VERBS[asked["is"]](asked["of"], asked["value"])), flush=True)
