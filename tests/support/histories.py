"""Every kind of history that a platform may send, and what strict servers refuse in it.

Each text in a history is a different word, so that a test notices a lost one. The checkers follow
what model APIs document and answer, independently of the code that corrects histories.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

Messages = Sequence[Mapping[str, Any]]

IDS = ("call_a", "call_b", "fc-1", "", None)
"""Few ids, so that calls and results match, twice and in any order."""
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KEYS = {
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "audio"},
    "tool": {"role", "content", "name", "tool_call_id"},
}
_KEYS_OF_ALL = {"role", "content", "name"}
_WORD = re.compile(r"word\d+")


@st.composite
def messages(draw: st.DrawFn, longest: int = 12) -> list[dict[str, Any]]:
    """Draw chat messages: any order of roles, cuts, orphans, empties, parts, nulls, other keys."""
    drawn = draw(st.lists(_messages(), min_size=1, max_size=longest))
    return [_numbered(message, f"{at}") for at, message in enumerate(drawn)]


@st.composite
def items(draw: st.DrawFn, longest: int = 12) -> list[dict[str, Any]]:
    """Draw the same as input items of the Responses API."""
    drawn = draw(st.lists(_items(), min_size=1, max_size=longest))
    return [_numbered(item, f"{at}") for at, item in enumerate(drawn)]


def words(value: Any) -> set[str]:
    """Return the words of a drawn history that appear in `value`."""
    return set(_WORD.findall(json.dumps(value, ensure_ascii=False)))


def _messages() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(ROLES).flatmap(
        lambda role: st.fixed_dictionaries(
            {"role": st.just(role), "content": _contents(("text", "input_text", None))},
            optional={
                **({"tool_calls": st.none() | _calls()} if role == "assistant" else {}),
                **({"tool_call_id": st.sampled_from(IDS)} if role == "tool" else {}),
                "name": st.sampled_from([None, "", "look_up"]),
                "timestamp": st.just(1_790_000_000),
                "models": st.just({"prosody": {"Joy": 0.2}}),
                "refusal": st.none(),
            },
        )
    )


def _contents(kinds: Sequence[str | None]) -> st.SearchStrategy[Any]:
    """Draw text, nothing, blanks or parts; `TEXT` becomes a unique word."""
    text = st.sampled_from(["TEXT", "TEXT", "", " "])
    part = st.builds(lambda kind, t: {"type": kind, "text": t}, st.sampled_from(kinds), text)
    return st.one_of(text, text, st.none(), st.lists(part, max_size=3))


def _calls() -> st.SearchStrategy[list[dict[str, Any]]]:
    arguments = st.sampled_from(['{"q": "TEXT"}', {"q": "TEXT"}, "{}", "", None, '{"q": "TEXT'])
    function = st.fixed_dictionaries({"name": st.just("look_up"), "arguments": arguments})
    call = st.fixed_dictionaries(
        {"id": st.sampled_from(IDS), "function": function},
        optional={"type": st.just("function"), "index": st.just(0)},
    )
    return st.lists(call, max_size=3)


def _items() -> st.SearchStrategy[dict[str, Any]]:
    ids = st.sampled_from([call_id for call_id in IDS if call_id])
    message = st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant"])},
        optional={
            "content": _contents(("input_text", "output_text")),
            "type": st.just("message"),
            "id": st.just("msg_1"),
            "timestamp": st.just(1_790_000_000),
        },
    )
    call = st.fixed_dictionaries(
        {
            "type": st.just("function_call"),
            "call_id": ids,
            "name": st.just("look_up"),
            "arguments": st.sampled_from(['{"q": "TEXT"}', {"q": "TEXT"}, "{}", None]),
        },
        optional={"id": st.just("fc_1"), "status": st.just("completed")},
    )
    output = st.fixed_dictionaries(
        {
            "type": st.just("function_call_output"),
            "call_id": ids,
            "output": st.sampled_from(["TEXT", {"found": "TEXT"}, "", None])
            | st.lists(st.just({"type": "input_text", "text": "TEXT"}), max_size=2),
        }
    )
    reasoning = st.just({"type": "reasoning", "summary": [], "encrypted_content": "x"})
    return st.one_of(message, message, call, output, reasoning)


def _numbered(value: Any, at: str) -> Any:
    """Return the value with a unique word in place of each `TEXT`."""
    if isinstance(value, str):
        return value.replace("TEXT", f"word{at}")
    if isinstance(value, list):
        return [_numbered(one, f"{at}0{place}") for place, one in enumerate(value)]
    if isinstance(value, dict):
        return {
            name: _numbered(one, f"{at}1{place}") for place, (name, one) in enumerate(value.items())
        }
    return value


def faults(history: Messages) -> list[str]:
    """Return what a strict chat completions API refuses in these messages."""
    found, waiting = [], set[str]()
    if not history:
        found.append("no messages")
    for message in history:
        role, content, calls = message["role"], message.get("content"), message.get("tool_calls")
        if beyond := message.keys() - _KEYS.get(role, _KEYS_OF_ALL):
            found.append(f"unknown keys {sorted(beyond)}")
        if role == "assistant" and not calls and not content:
            found.append("an empty answer")
        elif content is None and not calls:
            found.append("null content")
        elif not isinstance(content, str | list | None) or content == []:
            found.append(f"content {content!r}")
        if isinstance(content, list):
            found += [f"part {part!r}" for part in content if not _is_part(part, "text")]
        if not isinstance(message.get("name", "x"), str) or not message.get("name", "x"):
            found.append("no name")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                found.append("a result without a call before it")
            waiting.discard(message.get("tool_call_id", ""))
        elif waiting:
            found.append("a call without a result behind it")
            waiting.clear()
        if calls is not None:
            found += [fault for call in calls for fault in _call_faults(call)]
            ids = [call["id"] for call in calls]
            if not calls or len(set(ids)) < len(ids) or not all(ids):
                found.append(f"ids {ids}")
            waiting.update(ids)
    return [*found, "a call without a result at the end"] if waiting else found


def _call_faults(call: Mapping[str, Any]) -> Iterable[str]:
    if call.keys() - {"id", "type", "function", "extra_content"} or call.get("type") != "function":
        yield f"call {call!r}"
    function = call["function"]
    if not function["name"] or not isinstance(function["arguments"], str):
        yield f"function {function!r}"


def item_faults(history: Messages) -> list[str]:
    """Return what a strict Responses API refuses in these input items."""
    found, waiting = [], set[str]()
    for item in history:
        kind = item["type"]
        if None in item.values():
            found.append(f"null in {item!r}")
        if kind == "message":
            if waiting:
                found.append("a call without an output behind it")
                waiting.clear()
            if item.keys() - {"type", "role", "content", "id", "status", "phase"}:
                found.append(f"unknown keys in {item!r}")
            content = item.get("content")
            if item["role"] == "assistant" and not content:
                found.append("an empty answer")
            wanted = "output_text" if item["role"] == "assistant" else "input_text"
            if isinstance(content, list):
                found += [f"part {part!r}" for part in content if not _is_part(part, wanted)]
            elif not isinstance(content, str):
                found.append(f"content {content!r}")
        elif kind == "function_call":
            if item["call_id"] in waiting:
                found.append("two calls of one id")
            if not isinstance(item["arguments"], str):
                found.append("arguments")
            waiting.add(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in waiting:
                found.append("an output without a call before it")
            if not isinstance(item["output"], str | list):
                found.append("output")
            waiting.discard(item["call_id"])
    return [*found, "a call without an output at the end"] if waiting else found


def _is_part(part: Any, kind: str) -> bool:
    return isinstance(part, dict) and part.get("type") == kind and isinstance(part["text"], str)
