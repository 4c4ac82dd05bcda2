"""The messages of a chat request as every server takes them.

Known keys only; no nulls, empty lists or empty answers; calls in their newest form, each followed
by its result. A correct message passes as the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from completions.dialects.call_pairs import INTERRUPTED, RETOLD, SOME_TOOL, History, paired
from completions.dialects.deltas import arguments_text

_COMMON_KEYS = frozenset({"role", "content", "name"})
_KEYS = {
    "system": _COMMON_KEYS,
    "developer": _COMMON_KEYS,
    "user": _COMMON_KEYS,
    "assistant": _COMMON_KEYS | {"tool_calls", "refusal", "audio"},
    "tool": _COMMON_KEYS | {"tool_call_id"},
}
"""Strict servers refuse other keys that platforms add (times, scores, ids of turns)."""
_OTHER_KEYS = frozenset[str]().union(*_KEYS.values()) - {"tool_calls"}
"""The keys for an unknown role: calls are the assistant's."""
_CALL_KEYS = frozenset({"id", "type", "function", "extra_content"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})
_TEXT_PARTS = (None, "text", "input_text", "output_text")


def clean_messages(messages: Iterable[dict[str, Any]], clean: Callable[[str], str]) -> History:
    """Return the messages as strict servers take them; `clean` is applied to assistant texts."""
    cleaned = [kept for one in messages if (kept := _clean_message(one, clean)) is not None]
    return paired(cleaned, _FORM)


def _clean_message(message: dict[str, Any], clean: Callable[[str], str]) -> dict[str, Any] | None:
    """Return the message; None where the caller interrupted before a word was said."""
    role = message["role"]
    keys = _KEYS.get(role, _OTHER_KEYS)
    kept = message
    if None in message.values() or not message.keys() <= keys or role == "function":
        if role == "function" or isinstance(message.get("function_call"), dict):
            message = _with_tool_calls(message)
            role = message["role"]
            keys = _KEYS.get(role, _OTHER_KEYS)
        kept = {k: value for k, value in message.items() if k in keys and value is not None}
    if "name" in kept and not (isinstance(kept["name"], str) and kept["name"]):
        kept = {k: value for k, value in kept.items() if k != "name"}
    content = kept.get("content")
    if role != "assistant":
        sent = content if type(content) is str else _clean_parts(content, str) or ""
        return kept if sent is content else {**kept, "content": sent}
    calls = _clean_calls(kept.get("tool_calls"))
    words = _clean_content(content, clean)
    if calls is not kept.get("tool_calls"):
        kept = {k: value for k, value in kept.items() if k != "tool_calls"}
        if calls:
            kept["tool_calls"] = calls
    if words is None and not kept.keys() & {"tool_calls", "refusal", "audio"}:
        return None
    if "content" in kept and words is content:
        return kept
    kept = {**kept, "content": words}
    return message if kept == message else kept


def _with_tool_calls(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call and its result in the form of `tools`, which replaced `functions` (2023)."""
    current = {name: value for name, value in message.items() if name != "function_call"}
    if message["role"] == "function":
        return {**current, "role": "tool", "tool_call_id": ""}
    if not current.get("tool_calls"):
        current["tool_calls"] = [{"id": "", "function": message["function_call"]}]
    return current


def _clean_content(content: Any, clean: Callable[[str], str]) -> Any:
    """Return the assistant's content without our own words; None if nothing is left."""
    if isinstance(content, str):
        cleaned = clean(content)
        return (content if cleaned == content else cleaned) if cleaned.strip() else None
    return _clean_parts(content, clean)


def _clean_parts(content: Any, clean: Callable[[str], str]) -> Any:
    """Return the parts with text, typed as in this API; None without any."""
    parts = []
    for given in content or ():
        part = {"type": "text", "text": given} if isinstance(given, str) else given
        if not isinstance(part, dict):
            continue
        if "text" in part and part.get("type") in _TEXT_PARTS:
            text = part["text"] if isinstance(part["text"], str) else ""
            cleaned = clean(text)
            if not cleaned.strip():
                continue
            if part.get("type") != "text" or cleaned != part["text"]:
                part = {**part, "type": "text", "text": cleaned}
        parts.append(part)
    return (content if parts == content else parts) or None


def _clean_calls(calls: Any) -> Any:
    """Return the calls with id, type, name and arguments as text; the same list if unchanged."""
    if calls is None or (calls and all(map(_is_clean, calls))):
        return calls
    return [_clean_call(call) for call in calls if isinstance(call, dict)]


def _is_clean(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and call.keys() <= _CALL_KEYS
        and call.get("type") == "function"
        and function.keys() == _FUNCTION_KEYS
        and isinstance(function["name"], str)
        and isinstance(function["arguments"], str)
        and bool(function["name"] and function["arguments"].strip())
        and isinstance(call.get("extra_content", {}), dict)
    )


def _clean_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict):
        function = {}
        if isinstance(call.get("custom"), dict):
            return call
    name, arguments = function.get("name"), arguments_text(function.get("arguments"))
    kept = {
        "id": call["id"] if isinstance(call.get("id"), str) else "",
        "type": "function",
        "function": {
            "name": name if isinstance(name, str) and name else "unknown",
            "arguments": arguments if arguments.strip() else "{}",
        },
    }
    if isinstance(call.get("extra_content"), dict):
        kept["extra_content"] = call["extra_content"]  # Gemini's signature.
    return kept


class _ChatForm:
    """Messages: calls are in the assistant's, and each result is a message."""

    def calls(self, entry: dict[str, Any]) -> Sequence[str]:
        # Other roles make no calls, and theirs have not been checked.
        calls = entry.get("tool_calls") if entry["role"] == "assistant" else None
        return [call.get("id") or "" for call in calls] if calls else ()

    def result(self, entry: dict[str, Any]) -> str | None:
        if entry["role"] != "tool":
            return None
        call_id = entry.get("tool_call_id")
        return call_id if isinstance(call_id, str) else ""

    def ends_step(self, _: dict[str, Any]) -> bool:
        return True

    def with_ids(self, entry: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
        pairs = zip(entry["tool_calls"], ids, strict=True)
        return {**entry, "tool_calls": [{**call, "id": call_id} for call, call_id in pairs]}

    def answer(self, results: Sequence[dict[str, Any]], call_id: str) -> dict[str, Any]:
        first = results[0]
        if len(results) == 1 and first.get("tool_call_id") == call_id:
            return first
        contents = [result["content"] for result in results]
        return {**first, "tool_call_id": call_id, "content": _joined(contents)}

    def interrupted(self, _: dict[str, Any], call_id: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": call_id, "content": INTERRUPTED}

    def retold(self, result: dict[str, Any]) -> dict[str, Any] | None:
        content, label = result["content"], RETOLD.format(tool=result.get("name") or SOME_TOOL)
        if not content:
            return None
        if isinstance(content, str):
            return {"role": "user", "content": label + content}
        return {"role": "user", "content": [{"type": "text", "text": label}, *content]}


_FORM = _ChatForm()


def _joined(contents: Sequence[Any]) -> Any:
    """Join the contents, each distinct text once."""
    different = list({to_json(content): content for content in contents}.values())
    if all(isinstance(content, str) for content in different):
        return "\n".join(content for content in different if content)
    return list(_parts_of(different))


def _parts_of(contents: Iterable[Any]) -> Iterator[Any]:
    for content in contents:
        if not isinstance(content, str):
            yield from content
        elif content.strip():
            yield {"type": "text", "text": content}
