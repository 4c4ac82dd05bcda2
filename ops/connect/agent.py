"""Which of an agent's fields are ours, what they should be, and the patch that sets them.

Works on the API's decoded JSON and sends nothing. Paths are those of
`PATCH /v1/convai/agents/{id}` in elevenlabs 2.78.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.connect import call_start
from ops.connect.call_start import OVERRIDES
from ops.connect.nested_json import at

PROMPT = ("conversation_config", "agent", "prompt")
CONVERSATION_HEADER = "x-conversation-id"
# Filled in by the platform at each request; the function logs the header with each turn.
CONVERSATION_VARIABLE = {"variable_name": "system__conversation_id"}
# These would be sent beside the caller key, and the function could read them instead.
KEY_HEADERS = ("authorization", "x-api-key")
API_TYPES = ("chat_completions", "responses")  # a `websocket` cannot run behind a Function URL
USUAL_MAX_TOKENS = 5000  # what the platform's documentation proposes


@dataclass(frozen=True, slots=True)
class WantedSettings:
    """The agent's settings as they should be. None keeps the agent's value, if it can work."""

    url: str
    secret_id: str | None  # None: the secret is created with the change
    secret_name: str
    cascade_timeout_s: float
    model: str | None = None
    api_type: str | None = None
    max_tokens: int | None = None
    warm: int = 0
    """How many environments an announced call prepares; 0 leaves the agent's webhook alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, in words; None where there was or will be no value."""

    what: str
    old: str | None
    new: str | None


def model_of(agent: dict[str, Any]) -> str:
    """Return the model name that the agent already sends to a custom server, or nothing."""
    return at(agent, (*PROMPT, "custom_llm")).get("model_id") or ""


def patch(agent: dict[str, Any], wanted: WantedSettings) -> dict[str, Any]:
    """Return the body to send for the agent as it is.

    Sends only our fields of the prompt: the platform keeps what a patch does not name, and refuses
    a prompt sent back whole, because it answers with `tools` and `tool_ids` but takes only one of
    them. Sends the innermost objects, `custom_llm` and `overrides`, whole, with their other
    fields: seen elsewhere, such an object is validated and replaced as one.
    """
    prompt = at(agent, PROMPT)
    had = at(prompt, ("custom_llm",))
    custom = had | {
        "url": wanted.url,
        "model_id": wanted.model or had.get("model_id"),
        "api_key": {"secret_id": wanted.secret_id},
        "request_headers": _headers(at(had, ("request_headers",))),
        "api_type": wanted.api_type
        or (had["api_type"] if had.get("api_type") in API_TYPES else API_TYPES[0]),
    }
    if custom.get("auth_connection"):
        custom["auth_connection"] = None  # it would set the Authorization header instead of us
    limit = prompt.get("max_tokens")
    ours = {
        "llm": "custom-llm",
        "custom_llm": custom,
        "max_tokens": wanted.max_tokens
        or (limit if isinstance(limit, int) and limit > 0 else USUAL_MAX_TOKENS),
        "cascade_timeout_seconds": wanted.cascade_timeout_s,
    }
    overrides = at(agent, OVERRIDES) | {"custom_llm_extra_body": True}
    platform: dict[str, Any] = {"overrides": overrides}
    if wanted.warm:
        announced = call_start.settings(agent, wanted.url, wanted.warm, wanted.secret_id)
        overrides |= announced["overrides"]
        platform["workspace_overrides"] = announced["workspace_overrides"]
    return {"conversation_config": {"agent": {"prompt": ours}}, "platform_settings": platform}


def changes(agent: dict[str, Any], wanted: WantedSettings) -> list[Change]:
    """Return what the patch would change, field by field; empty if the agent is as wanted."""
    body = patch(agent, wanted)
    old, new = at(agent, PROMPT), at(body, PROMPT)
    had, gets = at(old, ("custom_llm",)), at(new, ("custom_llm",))
    rows: list[tuple[str, Any, Any]] = [
        ("LLM", old.get("llm"), new["llm"]),
        ("Server URL", had.get("url"), gets["url"]),
        ("Model ID", had.get("model_id"), gets["model_id"]),
        ("API key", _key(had.get("api_key"), wanted), f"secret {wanted.secret_name}"),
        ("Auth connection", _presence(had, "auth_connection"), _presence(gets, "auth_connection")),
        ("API type", had.get("api_type"), gets["api_type"]),
        *_header_rows(at(had, ("request_headers",)), gets["request_headers"]),
        ("Token limit", old.get("max_tokens"), new["max_tokens"]),
        (
            "Cascade timeout",
            _seconds(old.get("cascade_timeout_seconds")),
            _seconds(new["cascade_timeout_seconds"]),
        ),
        (
            "Custom LLM extra body",
            _switch(at(agent, OVERRIDES).get("custom_llm_extra_body")),
            _switch(at(body, OVERRIDES)["custom_llm_extra_body"]),
        ),
    ]
    if wanted.warm:
        rows += _call_start_rows(agent, body, wanted)
    return [
        Change(what, _text(before), _text(after)) for what, before, after in rows if before != after
    ]


def _call_start_rows(
    agent: dict[str, Any], body: dict[str, Any], wanted: WantedSettings
) -> list[tuple[str, Any, Any]]:
    path = (*call_start.WORKSPACE, call_start.WEBHOOK)
    had, gets = at(agent, path), at(body, path)
    header = call_start.KEY_HEADER
    return [
        ("Calls are announced to", had.get("url"), gets["url"]),
        (
            f"  with the header {header}",
            _key(at(had, ("request_headers",)).get(header), wanted),
            f"secret {wanted.secret_name}",
        ),
        (
            "  before they begin",
            _switch(at(agent, OVERRIDES).get(call_start.SWITCH)),
            _switch(at(body, OVERRIDES)[call_start.SWITCH]),
        ),
    ]


def own_llms(agent: dict[str, Any]) -> list[str]:
    """Return the nodes of the agent's workflow that ask another model, which they keep."""
    return sorted(
        str(node.get("label") or name)
        for name, node in at(agent, ("workflow", "nodes")).items()
        if isinstance(node, dict) and at(node, PROMPT).get("llm") not in {None, "custom-llm"}
    )


def other_changes(
    before: dict[str, Any], after: dict[str, Any], *, warm: bool = False
) -> list[str]:
    """Return the paths of settings that are not ours but changed."""
    parts = ("name", "conversation_config", "platform_settings", "workflow", "tags")
    changed = _changed({p: before.get(p) for p in parts}, {p: after.get(p) for p in parts}, ())
    ours: list[tuple[str, ...]] = [(*PROMPT, name) for name in ("llm", "custom_llm", "max_tokens")]
    ours += [(*PROMPT, "cascade_timeout_seconds"), (*OVERRIDES, "custom_llm_extra_body")]
    if warm:
        ours += [(*OVERRIDES, call_start.SWITCH), (*call_start.WORKSPACE, call_start.WEBHOOK)]
    return [".".join(p) for p in changed if not any(p[: len(own)] == own for own in ours)]


def _changed(before: Any, after: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if isinstance(before, dict) or isinstance(after, dict):
        before, after = before or {}, after or {}  # an object may have been added, or be null
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        return [
            found
            for name in names
            for found in _changed(before.get(name), after.get(name), (*path, name))
        ]
    return [] if before == after else [path]


def _headers(had: dict[str, Any]) -> dict[str, Any]:
    """Return the agent's headers with ours, in its spelling, without another server's key."""
    kept = {name: value for name, value in had.items() if name.lower() not in KEY_HEADERS}
    spelled = [name for name in kept if name.lower() == CONVERSATION_HEADER]
    return kept | dict.fromkeys(spelled or [CONVERSATION_HEADER], CONVERSATION_VARIABLE)


def _header_rows(
    had: dict[str, Any], gets: dict[str, Any]
) -> list[tuple[str, str | None, str | None]]:
    names = sorted(had.keys() | gets.keys())
    return [(f"Header {name}", _source(had.get(name)), _source(gets.get(name))) for name in names]


def _source(value: Any) -> str | None:
    """Return where a header's value comes from. A fixed value may be a key, so it is not shown."""
    if not isinstance(value, dict):
        return None if value is None else "a fixed value"
    kinds = {"variable_name": "variable", "secret_id": "secret", "env_var_label": "environment"}
    return next((f"{kind} {value[name]}" for name, kind in kinds.items() if name in value), "?")


def _key(value: Any, wanted: WantedSettings) -> str | None:
    if wanted.secret_id and value == {"secret_id": wanted.secret_id}:
        return f"secret {wanted.secret_name}"
    return _source(value)


def _presence(tree: dict[str, Any], name: str) -> str | None:
    return "set" if tree.get(name) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _seconds(value: Any) -> str | None:
    return f"{float(value):g} s" if isinstance(value, int | float) else None


def _switch(value: Any) -> str:
    return "on" if value else "off"
