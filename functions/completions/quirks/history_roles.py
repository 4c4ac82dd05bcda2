"""Arranges who speaks when in a history, as strict chat templates and APIs want it.

Pure functions over the messages of a chat request or the input items of a Responses request, which
both have roles. Nothing that was said is lost: it is joined, moved to another role, or followed by
an empty turn. Each function is idempotent.
"""

from __future__ import annotations

from typing import Any

from completions.dialects.call_pairs import History
from completions.dialects.request import SILENCE

_ROLE_OF_TYPE = {
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
}
"""Items of the Responses API other than messages, and whose turn they are."""
_SYSTEM = frozenset({"system", "developer"})


def _role(entry: dict[str, Any]) -> str:
    role = entry.get("role")
    return role if isinstance(role, str) else _ROLE_OF_TYPE.get(entry.get("type") or "", "")


def developer_as_system(history: History) -> History:
    """Give the developer's messages to the system, the role's older name."""
    return [{**one, "role": "system"} if one.get("role") == "developer" else one for one in history]


def system_first(history: History) -> History:
    """Join the first instructions into one; turn later ones into the user's, in their place."""
    first = next((at for at, one in enumerate(history) if _role(one) not in _SYSTEM), len(history))
    leading, rest = history[:first], history[first:]
    if len(leading) > 1:
        joined = leading[0]
        for one in leading[1:]:
            joined = {**joined, "content": _joined(joined, one)}
        leading = [joined]
    return leading + [_as_user(one) if _role(one) in _SYSTEM else one for one in rest]


def system_as_user(history: History) -> History:
    """Turn all instructions into the user's, in one turn with the user's next words."""
    kept: History = []
    ours = False  # The last turn holds instructions, and may take the user's next words.
    for one in history:
        instructs = _role(one) in _SYSTEM
        entry = _as_user(one) if instructs else one
        if kept and _role(entry) == "user" and (ours or (instructs and _role(kept[-1]) == "user")):
            kept[-1] = {**kept[-1], "content": _joined(kept[-1], entry)}
        else:
            kept.append(entry)
        ours = instructs
    return kept


def in_turns(history: History) -> History:
    """Let the system speak first, the user next and last, and nobody twice in a row.

    An API that refuses one of these refuses others, and none does harm: one lesson for all.
    """
    turns: History = []
    last = -1  # The place of the last turn: items between turns, such as thoughts, have no speaker.
    for one in system_first(history):
        role, before = _role(one), _role(turns[last]) if last >= 0 else ""
        if not role:
            turns.append(one)
            continue
        if not before or before in _SYSTEM:
            if role not in _SYSTEM | {"user"}:
                turns.insert(last + 1, _empty_turn("user", one))
        elif role == before and role in {"user", "assistant"} and _joinable(turns[last], one):
            turns[last] = {**turns[last], **one, "content": _joined(turns[last], one)}
            continue
        last = len(turns)
        turns.append(one)
    if turns and (last < 0 or _role(turns[last]) not in {"user", "tool"}):
        turns.append(_empty_turn("user", turns[-1]))
    return turns


def results_answered(history: History) -> History:
    """Let the assistant speak between a tool's result and the user, and speak `in_turns`.

    Some templates count a user's turn after a result as the second in a row.
    """
    turns: History = []
    before = ""  # Items between turns, such as thoughts, have no speaker.
    for one in in_turns(history):
        role = _role(one)
        if before == "tool" and role == "user":
            turns.append(_empty_turn("assistant", one))
        before = role or before
        turns.append(one)
    return turns


def _as_user(entry: dict[str, Any]) -> dict[str, Any]:
    """Return instructions as the user's, without a name, which Mistral refuses."""
    return {**{name: value for name, value in entry.items() if name != "name"}, "role": "user"}


def _empty_turn(role: str, beside: dict[str, Any]) -> dict[str, Any]:
    """Return a turn in which nobody speaks, in the form of an entry beside it."""
    message = {"role": role, "content": SILENCE}
    return {"type": "message", **message} if "type" in beside else message


def _joinable(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return True for two messages; of the assistant's, only the second may have calls."""
    return "content" in one and "content" in other and not one.get("tool_calls")


def _joined(one: dict[str, Any], other: dict[str, Any]) -> Any:
    """Return the contents of both, on separate lines."""
    contents = [entry["content"] for entry in (one, other) if entry.get("content")]
    if len(contents) < 2:
        return contents[0] if contents else one.get("content")
    if all(isinstance(content, str) for content in contents):
        return "\n".join(contents)
    kind = "text"
    if "type" in one:
        kind = "output_text" if one["role"] == "assistant" else "input_text"
    return [part for content in contents for part in _parts(content, kind)]


def _parts(content: Any, kind: str) -> list[Any]:
    return [{"type": kind, "text": content}] if isinstance(content, str) else content
