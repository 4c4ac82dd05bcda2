"""Pairs the calls and results of a history, as every model API wants them, in either dialect.

Platforms cut histories and write them while tools run: a caller who speaks meanwhile leaves a call
without a result, or puts words between the two. Each call gets one result right after it; a result
without a call is retold in words, so that nothing of the conversation is lost. A history in order
passes unchanged. Knows positions and ids; a `Form` knows the format.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

History = list[dict[str, Any]]
CallPlace = tuple[int, int]
"""The position of the entry with the call, and the call's place in it."""

INTERRUPTED = "Interrupted: no result came."
"""Stands in for a result that never came."""
RETOLD = "[Result of {tool}] "
"""Precedes a result without a call. It becomes a user's message: every server takes this role,
at any place."""
SOME_TOOL = "a tool"
"""Stands in for a tool's unknown name."""


class Form(Protocol):
    """How one dialect writes calls and results. A stateless object."""

    def calls(self, entry: dict[str, Any]) -> Sequence[str]:
        """Return the ids of the calls in the entry; empty for a call without an id."""
        ...

    def result(self, entry: dict[str, Any]) -> str | None:
        """Return the id of the call whose result the entry is, or None if it is not a result."""
        ...

    def ends_step(self, entry: dict[str, Any]) -> bool:
        """Return True if all results of earlier calls must come before this entry."""
        ...

    def with_ids(self, entry: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
        """Return the entry with these ids in its calls."""
        ...

    def answer(self, results: Sequence[dict[str, Any]], call_id: str) -> dict[str, Any]:
        """Return one result for the call, made from all that were given for it."""
        ...

    def interrupted(self, entry: dict[str, Any], call_id: str) -> dict[str, Any]:
        """Return a stand-in result for a call of this entry that was never answered."""
        ...

    def retold(self, result: dict[str, Any]) -> dict[str, Any] | None:
        """Return a result without a call in the user's words; None if it is empty."""
        ...


def content_lines(content: Any) -> str:
    """Return the text of a content: a string, or a list of parts whose texts become lines."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def paired(history: History, form: Form) -> History:
    """Return the history with one result after each call; the same object if it is in order."""
    if _in_order(history, form):
        return history
    return list(_ordered(history, form, _results_of_calls(history, form)))


def _in_order(history: History, form: Form) -> bool:
    waiting: set[str] = set()
    for entry in history:
        if (answered := form.result(entry)) is not None:
            if answered not in waiting:
                return False
            waiting.remove(answered)
            continue
        if waiting and form.ends_step(entry):
            return False
        for call_id in form.calls(entry):
            if not call_id or call_id in waiting:
                return False
            waiting.add(call_id)
    return not waiting


def _results_of_calls(history: History, form: Form) -> dict[CallPlace, list[int]]:
    """Return the positions of each call's results.

    A result belongs to the latest open call of its id, since some models number their calls anew
    in each turn; a second result joins the first. A result before its call is found, too.
    """
    results: dict[CallPlace, list[int]] = {}
    # By id, and then by entry: calls without results.
    waiting: dict[str, list[deque[CallPlace]]] = {}
    answered: dict[str, CallPlace] = {}
    early: list[tuple[str, int]] = []
    for position, entry in enumerate(history):
        if (call_id := form.result(entry)) is None:
            for place, made in enumerate(form.calls(entry)):
                entries = waiting.setdefault(made, [])
                if not entries or entries[-1][0][0] != position:
                    entries.append(deque())
                entries[-1].append((position, place))
        elif entries := waiting.get(call_id, []):
            call = answered[call_id] = entries[-1].popleft()
            results[call] = [position]
            if not entries[-1]:
                entries.pop()
        elif call_id in answered:
            results[answered[call_id]].append(position)
        else:
            early.append((call_id, position))
    for call_id, position in early:
        if entries := waiting.get(call_id, []):
            results[entries[-1].popleft()] = [position]
            if not entries[-1]:
                entries.pop()
    return results


def _ordered(history: History, form: Form, results: dict[CallPlace, list[int]]) -> Iterator[Any]:
    owner = {position: call for call, positions in results.items() for position in positions}
    # The calls of this step that have no result yet, and their ids.
    opened: dict[CallPlace, str] = {}
    taken: set[str] = set()

    def answer(call: CallPlace) -> dict[str, Any]:
        call_id = opened.pop(call)
        taken.discard(call_id)
        if positions := results.get(call):
            return form.answer([history[position] for position in positions], call_id)
        return form.interrupted(history[call[0]], call_id)

    for position, entry in enumerate(history):
        if form.result(entry) is not None:
            if (call := owner.get(position)) in opened:
                yield answer(call)
            elif call is None and (words := form.retold(entry)) is not None:
                for late in list(opened):
                    yield answer(late)
                yield words
            continue
        if form.ends_step(entry):
            for late in list(opened):
                yield answer(late)
        if ids := list(form.calls(entry)):
            given = list(ids)
            for place, call_id in enumerate(ids):
                if not call_id or call_id in taken:
                    # Made from its place, which is the same in every later turn.
                    ids[place] = f"call_{position}_{place}"
                opened[position, place] = ids[place]
                taken.add(ids[place])
            entry = entry if ids == given else form.with_ids(entry, ids)  # noqa: PLW2901
        yield entry
    for late in list(opened):
        yield answer(late)
