"""What strict model APIs refuse in a history, and in which words, from their documents.

Like the real APIs, each stand-in refuses one thing at a time, in the order of
its rules, and answers a body that no rule refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Messages = Sequence[Mapping[str, Any]]
Rule = Callable[[Messages], str | None]
"""Returns the words of a refusal, or None."""


def first_refusal(server: str, messages: Messages) -> str | None:
    """Return what the server says of these messages; None if it would answer."""
    return next((words for rule in SERVERS[server] if (words := rule(messages))), None)


def unknown_developer(messages: Messages) -> str | None:
    """Most servers do not know the role."""
    if any(one["role"] == "developer" for one in messages):
        return "developer is not one of ['system', 'assistant', 'user', 'tool', 'function']"
    return None


def several_systems(messages: Messages) -> str | None:
    """MiniMax takes one, and does not say what is wrong."""
    if sum(_instructs(one) for one in messages) > 1:
        return "invalid params, invalid chat setting (2013)"
    return None


def later_system(messages: Messages) -> str | None:
    """The templates of Qwen and others."""
    if any(_instructs(late) and not _instructs(early) for early, late in pairwise(messages)):
        return "Jinja Exception: System message must be at the beginning."
    return None


def any_system(messages: Messages) -> str | None:
    """Gemma's first template."""
    return "System role not supported" if any(map(_instructs, messages)) else None


def unequal_turns(messages: Messages) -> str | None:
    """Templates want users and assistants in turn, not counting calls and their results."""
    spoken = [one for one in _without_leading_systems(messages) if one["role"] != "tool"]
    spoken = [one for one in spoken if not one.get("tool_calls")]
    wanted = ("user", "assistant")
    if any(one["role"] != wanted[at % 2] for at, one in enumerate(spoken)):
        return "Conversation roles must alternate user/assistant/user/assistant/..."
    return None


def mistral_order(messages: Messages) -> str | None:
    """Mistral's rules for the order of roles, code 3230."""
    allowed = {
        "system": {"system", "user", "assistant"},
        "user": {"assistant", "user"},
        "assistant": {"user", "tool", "assistant"},
        "tool": {"assistant", "tool"},
    }
    for early, late in pairwise(messages):
        if late["role"] not in allowed.get(early["role"], ()):
            return f"Unexpected role '{late['role']}' after role '{early['role']}'"
    if messages[-1]["role"] not in {"user", "tool"}:
        return "Expected last role User or Tool (or Assistant with prefix True) but got assistant"
    return None


def assistant_last(messages: Messages) -> str | None:
    """Claude from 4.6 on."""
    if messages[-1]["role"] not in {"user", "tool"}:
        return (
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    return None


def no_user(messages: Messages) -> str | None:
    """Gemini."""
    if not any(one["role"] == "user" for one in messages):
        return "* GenerateContentRequest.contents: contents is not specified"
    return None


def user_not_first(messages: Messages) -> str | None:
    """Bedrock."""
    if (rest := _without_leading_systems(messages)) and rest[0]["role"] == "user":
        return None
    return "A conversation must start with a user message. Try again with a conversation that does."


def empty_content(messages: Messages) -> str | None:
    """Anthropic."""
    for at, one in enumerate(messages):
        if not one.get("tool_calls") and not str(one.get("content") or "").strip():
            return f"messages.{at}: all messages must have non-empty content"
    return None


def null_content(messages: Messages) -> str | None:
    """Ollama."""
    if any(one.get("content") is None for one in messages):
        return "invalid message content type: <nil>"
    return None


def parts(messages: Messages) -> str | None:
    """DeepSeek."""
    for at, one in enumerate(messages):
        if isinstance(one.get("content"), list):
            return (
                "Failed to deserialize the JSON body into the target type: "
                f"messages[{at}]: invalid type: sequence, expected a string"
            )
    return None


def parts_but_the_users(messages: Messages) -> str | None:
    """Groq."""
    for at, one in enumerate(messages):
        if isinstance(one.get("content"), list) and one["role"] != "user":
            return (
                f"'messages.{at}' : for 'role:{one['role']}' the following must be satisfied"
                f"[('messages.{at}.content' : value must be a string)]"
            )
    return None


def odd_ids(messages: Messages) -> str | None:
    """Mistral, code 3280."""
    for one in messages:
        ids = [call["id"] for call in one.get("tool_calls") or ()]
        for call_id in [*ids, *([one["tool_call_id"]] if "tool_call_id" in one else [])]:
            if not re.fullmatch(r"[a-zA-Z0-9]{9}", call_id):
                return f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
    return None


def repeated_ids(messages: Messages) -> str | None:
    """Anthropic."""
    ids = [call["id"] for one in messages for call in one.get("tool_calls") or ()]
    return "messages: `tool_use` ids must be unique" if len(set(ids)) < len(ids) else None


def nameless_results(messages: Messages) -> str | None:
    """Gemini."""
    if any(one["role"] == "tool" and not one.get("name") for one in messages):
        return "contents[2].parts[0].function_response.name: Name cannot be empty."
    return None


def odd_arguments(messages: Messages) -> str | None:
    """llama.cpp reads the arguments of old calls."""
    for one in messages:
        for call in one.get("tool_calls") or ():
            try:
                json.loads(call["function"]["arguments"])
            except ValueError:
                return "Failed to parse tool call arguments as JSON"
    return None


def any_calls(messages: Messages) -> str | None:
    """Templates of models that were not trained with tools."""
    if any(one["role"] == "tool" or one.get("tool_calls") for one in messages):
        return "Only user and assistant roles are supported!"
    return None


def _instructs(message: Mapping[str, Any]) -> bool:
    return message["role"] in {"system", "developer"}


def _without_leading_systems(messages: Messages) -> Messages:
    first = next((at for at, one in enumerate(messages) if not _instructs(one)), len(messages))
    return messages[first:]


SERVERS: dict[str, Sequence[Rule]] = {
    "Claude": [empty_content, assistant_last, no_user, repeated_ids],
    "Bedrock": [empty_content, user_not_first, assistant_last],
    "DashScope": [unknown_developer],
    "DeepSeek": [unknown_developer, parts],
    "Gemini": [no_user, nameless_results],
    "Gemma": [any_system, unequal_turns],
    "Groq": [unknown_developer, parts_but_the_users],
    "llama.cpp": [later_system, odd_arguments],
    "MiniMax": [unknown_developer, several_systems],
    "Mistral": [mistral_order, odd_ids],
    "Ollama": [unknown_developer, null_content],
    "Qwen": [unknown_developer, later_system, no_user],
    "no tools": [any_calls, unequal_turns],
    "vLLM": [unequal_turns, parts],
}
