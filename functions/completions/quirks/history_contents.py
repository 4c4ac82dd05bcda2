"""Contents, ids and names in a history, in the forms that strict APIs want.

Pure functions over the messages of a chat request or the input items of a Responses request; many
take either. Nothing that was said is lost. Each is idempotent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json, to_json

from completions.dialects.call_pairs import RETOLD, SOME_TOOL, History, content_lines
from completions.dialects.request import SILENCE

_TEXT_TYPES = ("text", "input_text", "output_text", "refusal")
_NINE_LETTERS = re.compile(r"[a-zA-Z0-9]{9}")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def parts_as_text(history: History) -> History:
    """Turn content into one text where all of its parts are texts."""
    return [_with_text(_with_text(entry, "content"), "output") for entry in history]


def _with_text(entry: dict[str, Any], name: str) -> dict[str, Any]:
    content = entry.get(name)
    if not isinstance(content, list) or not all(map(_is_text, content)):
        return entry
    texts = (part.get("text") or part.get("refusal") or "" for part in content)
    return {**entry, name: "\n".join(text for text in texts if text)}


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _TEXT_TYPES


def null_as_text(history: History) -> History:
    """Replace null content by a text: that of a refusal, or an empty one beside calls."""
    return [
        {**entry, "content": entry.get("refusal") or ""}
        if "role" in entry and entry.get("content") is None
        else entry
        for entry in history
    ]


def fill_empty(history: History) -> History:
    """Say `...` where a turn says nothing; leave out empty instructions.

    Calls without words get no content at all, the opposite of `null_as_text`.
    """
    changed = [entry for entry in map(_with_words, history) if entry is not None]
    return changed or [{**one, "role": "user", "content": SILENCE} for one in history[:1]]


def _with_words(entry: dict[str, Any]) -> dict[str, Any] | None:
    name = "content" if "role" in entry else "output"
    content = entry.get(name)
    if name not in entry or (content.strip() if isinstance(content, str) else content):
        return entry
    if entry.get("role") in {"system", "developer"}:
        return None
    if entry.keys() & {"tool_calls", "audio"}:
        return {**entry, "content": None}
    return {**entry, name: SILENCE}


def nine_letter_ids(history: History) -> History:
    """Give calls and their results ids of nine letters or digits, unique to each call.

    Mistral requires this form, and other APIs that are strict about ids accept it. The same
    history gets the same ids in every turn.
    """
    seen: dict[str, int] = {}
    given: dict[str, str] = {}  # The id's latest call: its result comes right after it.

    def of_call(call_id: str) -> str:
        count = seen[call_id] = seen.get(call_id, 0) + 1
        keeps = count == 1 and _NINE_LETTERS.fullmatch(call_id)
        given[call_id] = call_id if keeps else _nine_letters(f"{call_id}\n{count}")
        return given[call_id]

    def renamed(entry: dict[str, Any]) -> dict[str, Any]:
        if calls := entry.get("tool_calls"):
            return {**entry, "tool_calls": [{**one, "id": of_call(one["id"])} for one in calls]}
        if isinstance(called := entry.get("call_id"), str):
            result = str(entry.get("type")).endswith("_output")
            return {**entry, "call_id": given.get(called, called) if result else of_call(called)}
        if isinstance(called := entry.get("tool_call_id"), str):
            return {**entry, "tool_call_id": given.get(called, called)}
        return entry

    return [renamed(entry) for entry in history]


def _nine_letters(text: str) -> str:
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    letters = ""
    for _ in range(9):
        number, place = divmod(number, len(_LETTERS))
        letters += _LETTERS[place]
    return letters


def named_results(history: History) -> History:
    """Name the called function beside each result."""
    names: dict[str, str] = {}
    changed: History = []
    for entry in history:
        for call in entry.get("tool_calls") or ():
            names[call["id"]] = (call.get("function") or call.get("custom") or {}).get("name", "")
        name = "" if entry.get("name") else names.get(entry.get("tool_call_id", ""))
        changed.append({**entry, "name": name} if name else entry)
    return changed


def json_arguments(history: History) -> History:
    """Wrap arguments that are not a JSON object in one: some APIs parse those of old calls, too."""
    return [_with_objects(entry) for entry in history]


def _with_objects(entry: dict[str, Any]) -> dict[str, Any]:
    if calls := entry.get("tool_calls"):
        return {**entry, "tool_calls": [_with_object(call) for call in calls]}
    if entry.get("type") == "function_call":
        return {**entry, "arguments": _as_object(entry.get("arguments"))}
    return entry


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(function := call.get("function"), dict):
        return call
    return {**call, "function": {**function, "arguments": _as_object(function["arguments"])}}


def _as_object(arguments: Any) -> str:
    try:
        if isinstance(from_json(arguments, allow_inf_nan=False), dict):
            return str(arguments)
    except (ValueError, TypeError):
        pass
    return to_json({"text": str(arguments)}).decode()


def calls_as_words(history: History) -> History:
    """Rewrite calls and their results as the user's words, for APIs that take neither.

    As the assistant's words they would teach the model to write calls as text.
    """
    return list(_without_calls(history))


def _without_calls(history: History) -> Iterator[dict[str, Any]]:
    called: dict[str, str] = {}
    for entry in history:
        if calls := entry.get("tool_calls"):
            for call in calls:
                called[call["id"]] = _tool_named(call.get("function") or call.get("custom") or {})
            if entry.get("content"):
                yield {name: value for name, value in entry.items() if name != "tool_calls"}
        elif entry.get("role") == "tool":
            tool = called.get(entry["tool_call_id"], SOME_TOOL)
            text = RETOLD.format(tool=tool) + content_lines(entry["content"])
            yield {"role": "user", "content": text}
        elif str(entry.get("type")).endswith("_call") and "call_id" in entry:
            called[entry["call_id"]] = _tool_named(entry)
        elif str(entry.get("type")).endswith("_call_output") and "call_id" in entry:
            tool = called.get(entry["call_id"], SOME_TOOL)
            text = RETOLD.format(tool=tool) + content_lines(entry.get("output"))
            yield {"type": "message", "role": "user", "content": text}
        else:
            yield entry


def _tool_named(function: dict[str, Any]) -> str:
    arguments = function.get("arguments") or function.get("input")
    return " ".join(str(one) for one in (function.get("name"), arguments) if one)
