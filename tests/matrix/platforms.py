"""The platforms of the matrix: their requests, and the calls made of them.

Each story is a call: its requests in order, each with the model's answer. It begins with the
platform's own body (`events/`), and continues with the histories that platforms send.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from completions.web.conversation import CUSTOM_SESSION
from tests.matrix.streams import Output

EVENTS = {
    path.stem.removeprefix("url-platform-"): json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "events").glob("url-platform-*.json"))
}
WORDS = Output("Oil it once a month, and wipe off whatever runs down from it afterwards.")
TOOL = {
    "name": "opening_hours",
    "description": "Tell when the shop is open.",
    "parameters": {
        "type": "object",
        "properties": {
            "day": {"type": "string"},
            "week": {"type": "integer", "enum": [1, 2]},
        },
        "required": ["day"],
    },
}
CALL = Output(call="opening_hours", arguments='{"day": "monday", "week": 1}')

Messages = list[dict[str, Any]]
Turn = tuple[dict[str, Any], Output]
Story = Callable[[dict[str, Any]], Iterator[Turn]]


def body(platform: str) -> dict[str, Any]:
    """Return the platform's request."""
    sent: dict[str, Any] = json.loads(EVENTS[platform]["body"])
    return sent


def session(platform: str) -> str:
    """Return the id that the platform expects in each chunk, if any."""
    query = parse_qs(EVENTS[platform]["rawQueryString"])
    return str(query.get(CUSTOM_SESSION, [""])[0])


def user(text: str) -> dict[str, Any]:
    """Return what the caller says."""
    return {"role": "user", "content": text}


def assistant(output: Output) -> dict[str, Any]:
    """Return an answer as the platform keeps it, calls without extra fields."""
    if not output.call:
        return {"role": "assistant", "content": output.text}
    made = {"id": output.id, "type": "function", "function": output.function}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


def result(call: Output) -> dict[str, Any]:
    """Return the tool's result."""
    return {"role": "tool", "tool_call_id": call.id, "content": "From nine to five."}


def words(sent: dict[str, Any]) -> Iterator[Turn]:
    """Three turns of a call."""
    history: Messages = list(sent["messages"])
    yield sent, WORDS
    history += [assistant(WORDS), user("And the tyres?")]
    yield sent | {"messages": history}, WORDS
    history = [*history, assistant(WORDS), user("And the brakes?")]
    yield sent | {"messages": history}, WORDS


def tools(sent: dict[str, Any]) -> Iterator[Turn]:
    """A call, its result, the next turn; an interruption while the tool runs; all of it again."""
    sent = sent | {"tools": [{"type": "function", "function": TOOL}]}
    history: Messages = list(sent["messages"])
    for number in (1, 2):
        call = Output(call=CALL.call, arguments=CALL.arguments, id=f"call_{number}")
        history = [*history, user("Are you open on Monday?")]
        yield sent | {"messages": history}, call
        history = [*history, assistant(call), result(call)]
        yield sent | {"messages": history}, WORDS
        history = [*history, assistant(WORDS), user("And on Tuesday?")]
        yield sent | {"messages": history}, call
        # The caller speaks before the tool has answered: the call stays without a result.
        history = [*history, assistant(Output(call=CALL.call, arguments="{}", id=f"late_{number}"))]
        history = [*history, user("Never mind. The chain, then?")]
        yield sent | {"messages": history}, WORDS


def silences(sent: dict[str, Any]) -> Iterator[Turn]:
    """The user has not spoken, or the assistant spoke last; contents are lists, null or empty."""
    system = {"role": "system", "content": "Be brief."}
    parts = [{"type": "text", "text": "Hello?"}, {"type": "text", "text": "The chain?"}]
    odd: Messages = [system, {"role": "assistant", "content": None}, user("")]
    odd += [{"role": "assistant", "content": ""}, {"role": "user", "content": parts}]
    for history in ([system], [system, assistant(WORDS)], odd, [*odd, assistant(WORDS)]):
        yield sent | {"messages": history}, WORDS
    for _ in range(2):
        yield sent | {"messages": [*odd, assistant(WORDS), system, user("And the brakes?")]}, WORDS


def settings(sent: dict[str, Any]) -> Iterator[Turn]:
    """Every field that an owner may set on a platform."""
    strict = {"type": "function", "function": {**TOOL, "strict": True}}
    more: dict[str, Any] = {"temperature": 0.4, "top_p": 0.9, "max_tokens": 200, "user": "u-1"}
    more |= {"frequency_penalty": 0.1, "presence_penalty": 0.1, "stop": ["###"], "seed": 7}
    more |= {"metadata": {"turns": 3}, "tools": [], "tool_choice": "auto"}
    yield sent | more, WORDS
    yield sent | more | {"tools": [strict], "parallel_tool_calls": False}, WORDS
    yield sent | more | {"tools": [strict]}, WORDS


def buffered(sent: dict[str, Any]) -> Iterator[Turn]:
    """One answer in one piece, a call, and its result."""
    sent = sent | {"stream": False, "tools": [{"type": "function", "function": TOOL}]}
    sent.pop("stream_options", None)
    yield sent, WORDS
    yield sent, CALL
    yield sent | {"messages": [*sent["messages"], assistant(CALL), result(CALL)]}, WORDS
    yield sent, CALL


STORIES: Mapping[str, Story] = {
    story.__name__: story for story in (words, tools, silences, settings, buffered)
}
