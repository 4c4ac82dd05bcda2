"""Add the platform's tools to an agent's questions, and take their calls out of the answers.

A tool that the agent passes itself stays the agent's, even if the platform has one of that name.
Knows requests and calls in both APIs' shapes, but no transports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from completions.dialects import chat
from completions.dialects.deltas import Call
from completions.dialects.dialect import Dialect

_FREE_CHOICES = {None, "auto", "required", "any"}
"""With any other `tool_choice` the agent wants its own tool, or none."""


def added(
    body: Mapping[str, Any], dialect: Dialect, tools: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Return an agent's request with the platform's tools, and those tools' names.

    A request for JSON stays as it is: the caller does not hear its answer.
    """
    own = list(body.get("tools") or ())
    names = [_function(tool).get("name") for tool in own if isinstance(tool, dict)]
    more = {
        function["name"]: function
        for tool in tools
        if isinstance(function := _function(tool), dict) and function.get("name") not in names
    }
    choice = body.get("tool_choice")
    if not more or _is_formatted(body) or not (isinstance(choice, str | None)):
        return dict(body), frozenset()
    if choice not in _FREE_CHOICES:
        return dict(body), frozenset()
    shaped = [
        {"type": "function", "function": function}
        if dialect is chat
        else {"type": "function", "strict": False, **function}
        for function in more.values()
    ]
    return {**body, "tools": [*own, *shaped]}, frozenset(more)


def parted(calls: Iterable[Call], platform: Iterable[str]) -> tuple[list[Call], list[Call]]:
    """Return the calls of an answer: the agent's own, and the platform's."""
    offered = dict.fromkeys(platform)
    own: list[Call] = []
    others: list[Call] = []
    for call in calls:
        (others if call.name in offered else own).append(call)
    return own, others


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool's function; Responses has its fields in the tool itself."""
    function = tool.get("function", tool)
    return function if isinstance(function, dict) else {}


def _is_formatted(body: Mapping[str, Any]) -> bool:
    text = body.get("text")
    chosen = body.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    return isinstance(chosen, dict) and chosen.get("type") not in {None, "text"}
