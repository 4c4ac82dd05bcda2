"""One buffered chat completion: the upstream's, corrected, or made up."""

from __future__ import annotations

import json
from typing import Any

from completions.dialects import chat
from completions.dialects.deltas import Call
from completions.sse import ServerSentEvent
from local.scripted.script import CallPiece, Finish, Say, Speech, Think
from local.scripted.wires import ChatWhole

REQUEST = chat.parse({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
CALL = Call("call_1", "f", '{"a":1}')


def upstream(*steps: Speech) -> ServerSentEvent:
    """The upstream's JSON answer."""
    wire = ChatWhole("gpt")
    for step in steps:
        wire.render(step)
    return ServerSentEvent(b"", wire.whole())


def buffered(sse: ServerSentEvent | None, **fields: Any) -> Any:
    """The completion that a caller gets, decoded."""
    given = {"text": "Sure.", "reasoning": "", "calls": [], "finish": "stop", **fields}
    return json.loads(chat.buffered(REQUEST, sse, **given))


def test_an_answer_keeps_the_upstreams_other_fields() -> None:
    """Its id, model, usage and unknown fields stay."""
    sse = upstream(Say("Sure."), Finish())
    received = json.loads(sse.data)
    got = buffered(sse)
    assert got["choices"][0]["message"]["content"] == "Sure."
    for answer in (got, received):
        del answer["choices"][0]["message"]
    assert got == received


def test_text_reasoning_and_calls_are_replaced() -> None:
    """The turn's own take the place of the upstream's."""
    sse = upstream(Think("No."), Say("<think>Hm.</think>Sure."), CallPiece(0, "{", "f", "call_1"))
    got = buffered(sse, reasoning="Hm.", calls=[CALL], finish="tool_calls")
    (choice,) = got["choices"]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert (message["content"], message["reasoning_content"]) == ("Sure.", "Hm.")
    function = {"name": "f", "arguments": '{"a":1}'}
    assert message["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}]


def test_dropped_calls_do_not_reach_the_caller() -> None:
    """A call that failed its check is also removed from the upstream's JSON."""
    message = buffered(upstream(CallPiece(0, "{", "f", "c")), text="")["choices"][0]["message"]
    assert (message["content"], "tool_calls" in message) == (None, False)


def test_an_answer_without_an_upstream_names_the_callers_model() -> None:
    """An agent's answer has an id and a time as well."""
    usage = {"total_tokens": 3}
    got = buffered(None, usage=usage)
    assert (got["object"], got["model"], got["usage"]) == ("chat.completion", "m", usage)
    assert got["id"].startswith("chatcmpl-")
    assert got["created"] > 0
    message = {"role": "assistant", "content": "Sure."}
    assert got["choices"] == [{"index": 0, "message": message, "finish_reason": "stop"}]


def test_an_upstreams_own_usage_stays() -> None:
    """The model's provider charges by it."""
    sse = upstream(Say("Sure."), Finish())
    assert buffered(sse, usage={"total_tokens": 99})["usage"] == json.loads(sse.data)["usage"]
