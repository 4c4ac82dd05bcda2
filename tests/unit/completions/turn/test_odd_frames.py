"""Event streams that violate the protocol, in whole turns: the caller hears the words, once.

Errors in every shape, events that come twice or end in a single line end, padding, and objects of
another kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from completions.dialects import chat
from local.scripted.script import (
    CallPiece,
    Done,
    Finish,
    Head,
    Hold,
    Raw,
    Reply,
    Role,
    Say,
    Speech,
    Step,
    Usage,
    answer,
)
from local.scripted.wires import ChatStream
from local.scripted.wires_responses import ResponsesStream
from tests.support.chat_events import chat_event
from tests.support.tools import TRANSFER
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, Way

pytestmark = pytest.mark.looptime

WORDS: Sequence[Speech] = [Role(), Say("ha "), Say("ha "), Say("yes."), Finish(), Usage(), Done()]
ONE = '{"agent_number": 1}'
CALLED: Sequence[Speech] = [
    Role(),
    CallPiece(0, "", name=TRANSFER["name"], id="call_1"),
    CallPiece(0, '{"agent_number": '),
    CallPiece(0, "1}"),
    Finish("tool_calls"),
    Usage(),
    Done(),
]


def events(way: Way, steps: Sequence[Speech] = WORDS) -> list[bytes]:
    """Return the events in which a healthy upstream of this way sends these steps."""
    chats = way.over_chat or way.dialect is chat
    wire = ChatStream("m", include_usage=True) if chats else ResponsesStream("m")
    whole = b"".join(map(wire.render, steps))
    return re.findall(rb".*?\n\n", whole, re.DOTALL)


def sent(*pieces: bytes) -> list[Step]:
    """Return a stream of these bytes."""
    return [Head(), *map(Raw, pieces)]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_events_may_end_in_a_single_line_end(way: Way, line_end: bytes) -> None:
    """Each is heard when the next one comes, and the last at the end of the answer."""
    for steps in (WORDS, CALLED):
        lines = [
            event.rstrip(b"\n").replace(b"\n", line_end) + line_end for event in events(way, steps)
        ]
        got, upstream, _ = await way.turn(sent(*lines), tools=[TRANSFER])
        assert len(upstream.requests) == 1
        assert got.text == ("" if steps is CALLED else "ha ha yes.")
        assert len(got.calls) == (steps is CALLED)


FAILED = {"code": 502, "message": "The engine is gone."}
ERRORS: dict[str, bytes] = {
    "OpenAI's": b'data: {"error": %s}\n\n',
    "a named event": b"event: error\ndata: %s\n\n",
    "a named event that is no JSON": b"event: error\ndata: gone\n\n",
    "a field": b"error: %s\n\n",
    "of the kind error": b'data: {"object": "error", "message": "Gone.", "code": 502}\n\n',
    "of the type error": b'data: {"type": "error", "message": "Gone.", "code": "502"}\n\n',
    "Anthropic's": b'data: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
    "a text": b'data: {"error": "model runner has unexpectedly stopped"}\n\n',
    "beside a finish": (
        b'data: {"error": %s, "choices": [{"index": 0, "delta": {"content": ""}, '
        b'"finish_reason": "error"}]}\n\n'
    ),
}


@pytest.fixture(params=list(ERRORS.values()), ids=list(ERRORS))
def error(request: pytest.FixtureRequest) -> Raw:
    """An error in mid-stream, in one of the shapes that servers use."""
    template: bytes = request.param
    return Raw(template.replace(b"%s", json.dumps(FAILED).encode()))


async def test_after_an_error_before_words_the_model_is_asked_again(error: Raw, way: Way) -> None:
    """This happens at once, even if the connection stays open."""
    got, upstream, _ = await way.turn([Head(), error, Hold()], answer("Until six."))
    assert (got.text, len(upstream.requests)) == ("Until six.", 2)


async def test_an_error_within_words_is_a_cut(error: Raw, way: Way) -> None:
    """Half a sentence is not passed off as the whole answer."""
    broken: list[Step] = [Role(), Say("We are open. The kitchen"), error, Hold()]
    got, _, _ = await way.turn(broken, settings={"stall_timeout_ms": 60_000})
    assert got.text.startswith("We are open. The kitchen")
    assert got.text != "We are open. The kitchen"
    assert got.speech[-1][0] < 5000


async def test_an_error_after_the_finish_changes_nothing(error: Raw, way: Way) -> None:
    """The answer was complete."""
    end: list[Step] = [Finish(), Done(), error] if way is RESPONSES else [Finish(), error, Done()]
    got, upstream, _ = await way.turn([Role(), Say("Until six."), *end])
    assert (got.text, got.finish, len(upstream.requests)) == ("Until six.", "stop", 1)


@pytest.mark.parametrize("reason", ["function_call_filter: MALFORMED_FUNCTION_CALL", "abort"])
@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_after_a_finish_that_means_failure_the_model_is_asked_again(
    reason: str, way: Way
) -> None:
    """Gemini finishes so when it could not write its call; nothing has been heard."""
    failed: list[Step] = [Role(), Finish(reason), Usage(), Done()]
    got, upstream, _ = await way.turn(failed, answer("Until six."))
    assert (got.text, len(upstream.requests)) == ("Until six.", 2)


# -- what is not relayed


@pytest.mark.parametrize(
    "field", [b', "obfuscation": "x\\u0041y"', b',"obfuscation":"abc"', b', "obfuscation" : ""']
)
@pytest.mark.parametrize("place", ["first", "last"])
async def test_padding_is_not_relayed(field: bytes, place: str, way: Way) -> None:
    """The output is the same as without it, byte for byte."""
    plain = events(way)
    padded = [
        event.replace(b"}\n\n", field + b"}\n\n")
        if place == "last"
        else event.replace(b"data: {", b"data: {" + field.removeprefix(b",") + b", ")
        for event in plain
    ]
    assert padded != plain
    _, _, without = await way.turn(sent(*plain))
    got, _, heard = await way.turn(sent(*padded))
    assert got.text == "ha ha yes."
    if way is not OVER_CHAT:
        assert heard.body.replace(b"{ ", b"{") == without.body
    assert b"obfuscation" not in heard.body


async def test_a_word_that_looks_like_padding_is_heard() -> None:
    """Only a field of the event counts as padding."""
    words = ['"obfuscation": "x", ', "obfuscation"]
    script = [*map(Raw, events(CHAT, [Role()])), *(chat_event({"content": one}) for one in words)]
    got, _, _ = await CHAT.turn([*script, Finish(), Done()])
    assert got.text == "".join(words)


@pytest.mark.parametrize("kind", [b'"object": "chat.completion"', b'"object": null', b'"a": 1'])
@pytest.mark.parametrize("before", [True, False])
async def test_an_odd_object_is_not_relayed(kind: bytes, before: bool) -> None:
    """Strict clients recognise chunks by `object`; the answer keeps its own id."""
    right = b'"object": "chat.completion.chunk"'
    odd = [event.replace(right, kind) for event in events(CHAT)]
    if not before:
        odd[0] = events(CHAT)[0]
    got, upstream, heard = await CHAT.turn(sent(*odd))
    assert (got.text, len(upstream.requests)) == ("ha ha yes.", 1)
    ids = {event["id"] for _, event in heard.events if isinstance(event, dict)}
    assert ids == {json.loads(events(CHAT)[0].removeprefix(b"data: "))["id"]}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "head",
    [{}, {"id": 7, "created": "today"}, {"id": "c", "created": 1, "object": "text_completion"}],
    ids=str,
)
async def test_a_body_of_an_odd_kind_becomes_a_completion(
    head: dict[str, Any], stream: bool
) -> None:
    """Required fields that the upstream left out are filled in; the others are kept."""
    message = {"role": "assistant", "content": "Until six."}
    body = {**head, "choices": [{"message": message, "finish_reason": "stop"}], "x": 1}
    got, upstream, heard = await CHAT.turn([Reply(json.dumps(body).encode())], stream=stream)
    assert (got.text, got.finish, len(upstream.requests)) == ("Until six.", "stop", 1)
    if not stream:
        told = json.loads(heard.body)
        assert (type(told["id"]), type(told["created"]), told["model"]) == (str, int, "m")
        assert told["x"] == 1
        assert head.get("id") in {None, 7, told["id"]}


@pytest.mark.parametrize("pieces", [["{}", ONE], ["{}" + ONE], [ONE[:5], ONE[5:], ONE]])
async def test_arguments_may_begin_empty_or_come_twice(pieces: list[str], way: Way) -> None:
    """In every API they belong to one call."""
    opening = CallPiece(0, "", name=TRANSFER["name"], id="call_1")
    called: list[Step] = [opening, *(CallPiece(0, piece) for piece in pieces)]
    script = [Role(), *called, Finish("tool_calls"), Usage(), Done()]
    got, upstream, _ = await way.turn(script, tools=[TRANSFER])
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert len(upstream.requests) == 1


# -- what comes twice


@pytest.mark.parametrize("deltas", [True, False])
async def test_repeated_events_are_relayed_once(deltas: bool) -> None:
    """Some proxies send each event of a response twice, and every word would be heard twice."""
    for steps in (WORDS, CALLED):
        once = events(RESPONSES, steps)
        twice = [event * (2 if deltas or b".delta" not in event else 1) for event in once]
        got, upstream, heard = await RESPONSES.turn(sent(*twice), tools=[TRANSFER])
        plain, _, expected = await RESPONSES.turn(sent(*once), tools=[TRANSFER])
        assert got == plain
        assert heard.body == expected.body
        assert len(upstream.requests) == 1


async def test_items_repeated_under_new_numbers_are_relayed_once() -> None:
    """A proxy with its own sequence numbers repeats them as well."""
    number = iter(range(1000))

    def counted(_: Any) -> bytes:
        return b'"sequence_number": %d' % next(number)

    for steps in (WORDS, CALLED):
        twice = [
            re.sub(rb'"sequence_number": \d+', counted, event)
            for event in events(RESPONSES, steps)
            for _ in range(1 if b".delta" in event else 2)
        ]
        got, _, _ = await RESPONSES.turn(sent(*twice), tools=[TRANSFER])
        assert got.text == ("" if steps is CALLED else "ha ha yes.")
        assert len(got.calls) == (steps is CALLED)


@pytest.mark.parametrize("number", [b'"sequence_number": 7', b'"sequence_number": "7"', b'"a": 1'])
async def test_words_that_only_look_repeated_are_heard(number: bytes) -> None:
    """Servers that do not number their events send `ha ha` as two equal ones."""
    uncounted = [re.sub(rb'"sequence_number": \d+', number, event) for event in events(RESPONSES)]
    got, _, _ = await RESPONSES.turn(sent(*uncounted))
    assert got.text == "ha ha yes."
