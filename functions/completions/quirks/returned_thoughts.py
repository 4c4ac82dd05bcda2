"""Gives reasoning models back what they require of their thoughts, where a platform dropped it.

Gemini signs its calls (`extra_content` of a call: ai.google.dev/gemini-api/docs/thought-signatures)
and refuses those of the current turn without a signature; DeepSeek wants `reasoning_content` in
assistant turns (api-docs.deepseek.com/guides/thinking_mode). Knows chat messages, and of the
Responses API's items only empty reasoning.
"""

from __future__ import annotations

from typing import Any

from completions.dialects.call_pairs import History

PLACEHOLDER = "skip_thought_signature_validator"
"""The value that Google documents for calls that Gemini did not make (thought signatures, FAQ)."""
_SIGNERS = ("google", "vertex")
"""The names that lead to a signature in `extra_content`."""


def with_signatures(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the history with a placeholder in each step of this turn that lacks a signature.

    A step is an assistant message with calls since the last user message; its first call counts.
    """
    last_user = max((i for i, one in enumerate(messages) if one.get("role") == "user"), default=-1)
    return [
        *messages[: last_user + 1],
        *(_signed_step(message) for message in messages[last_user + 1 :]),
    ]


def _signed_step(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls or not isinstance(calls[0], dict):
        return message
    extra = calls[0].get("extra_content")
    extra = extra if isinstance(extra, dict) else {}
    kept = [extra[name] for name in _SIGNERS if isinstance(extra.get(name), dict)]
    if any(one.get("thought_signature") for one in kept):
        return message
    placeholder = {"google": {**(kept[0] if kept else {}), "thought_signature": PLACEHOLDER}}
    return {
        **message,
        "tool_calls": [{**calls[0], "extra_content": {**extra, **placeholder}}, *calls[1:]],
    }


def with_reasoning(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the history with `reasoning_content` in every assistant turn, empty if need be."""
    return [
        {**message, "reasoning_content": ""}
        if message.get("role") == "assistant"
        and not isinstance(message.get("reasoning_content"), str)
        else message
        for message in messages
    ]


def not_thinking(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat request that asks for no thoughts, for gateways that require filled ones."""
    if "messages" not in body or body.get("thinking") == {"type": "disabled"}:
        return body
    return {**body, "thinking": {"type": "disabled"}}


def not_thinking_unless_streamed(body: dict[str, Any]) -> dict[str, Any]:
    """Return a buffered request without thoughts (alibabacloud.com/help/model-studio, Qwen3)."""
    if body.get("stream") or body.get("enable_thinking") is False:
        return body
    return {**body, "enable_thinking": False}


def without_empty_thoughts(items: History) -> History:
    """Leave out reasoning that is only an id, which is of use only where it was stored."""
    return [
        one
        for one in items
        if one.get("type") != "reasoning"
        or any(one.get(name) for name in ("content", "summary", "encrypted_content"))
    ]
