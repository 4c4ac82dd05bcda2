"""One buffered Responses answer: the upstream's, corrected, or made up."""

from __future__ import annotations

import json
from typing import Any

import httpx2
from openai import AsyncOpenAI
from openai.types.responses import Response

from completions.dialects import responses
from completions.dialects.deltas import Call
from completions.sse import ServerSentEvent
from local.scripted.script import CallPiece, Decline, Say, Speech, Think
from local.scripted.wires_responses import ResponsesWhole

REQUEST = responses.parse({"model": "m", "input": "Hi", "max_output_tokens": 50})
CALL = Call("call_1", "f", '{"a":1}')


def upstream(*steps: Speech, **more: Any) -> ServerSentEvent:
    """The upstream's JSON answer."""
    wire = ResponsesWhole("gpt")
    for step in steps:
        wire.render(step)
    return ServerSentEvent(b"", json.dumps(json.loads(wire.whole()) | more).encode())


async def parsed(body: bytes) -> Response:
    """What the official SDK makes of it."""
    headers = {"content-type": "application/json"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    http = httpx2.AsyncClient(transport=transport)
    async with AsyncOpenAI(api_key="k", base_url="http://127.0.0.1/v1", http_client=http) as client:
        return await client.responses.create(model="m", input="Hi")


def test_an_answer_that_needs_no_change_stays() -> None:
    """Words, calls, reasoning, ids and the upstream's other fields stay."""
    sse = upstream(Think("Hm."), Say("Sure."), CallPiece(0, '{"a":1}', "f", "call_1"), tier="x")
    got = responses.buffered(
        REQUEST, sse, text="Sure.", reasoning="Hm.", calls=[CALL], finish="tool_calls"
    )
    received = json.loads(sse.data)
    assert {name: json.loads(got)[name] for name in received} == received


async def test_words_and_calls_are_replaced() -> None:
    """The turn's words take the place of the upstream's; the rest is kept."""
    sse = upstream(Say("<think>Hm.</think>Sure."), CallPiece(0, '{"a":"1"}', "f", "call_1"))
    got = responses.buffered(
        REQUEST, sse, text="Sure.", reasoning="Hm.", calls=[CALL], finish="tool_calls"
    )
    response = await parsed(got)
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert (response.id, response.model, response.output_text) == ("resp_1", "gpt", "Sure.")
    assert response.output[2].to_dict()["arguments"] == '{"a":1}'
    assert b"think>" not in got


async def test_an_answer_without_an_upstream_is_whole() -> None:
    """The SDK reads an agent's answer like any other."""
    got = responses.buffered(
        REQUEST, None, text="Sure.", reasoning="", calls=[CALL], finish="length"
    )
    response = await parsed(got)
    assert (response.output_text, response.status, response.model) == ("Sure.", "incomplete", "m")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.max_output_tokens == 50
    assert response.id.startswith("resp_")


async def test_usage_is_translated() -> None:
    """Tokens counted by chat completions get this API's names."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    got = responses.buffered(
        REQUEST, None, text="Sure.", reasoning="", calls=[], finish="stop", usage=usage
    )
    response = await parsed(got)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.total_tokens) == (3, 5)


def test_a_refusal_stays_a_refusal() -> None:
    """A buffered answer is for a program, which can tell the two apart."""
    sse = upstream(Decline("No."))
    for text in ("", "No."):
        got = responses.buffered(REQUEST, sse, text=text, reasoning="", calls=[], finish="stop")
        (item,) = json.loads(got)["output"]
        assert item["content"] == [{"type": "refusal", "refusal": "No."}]


def test_no_message_is_made_without_words() -> None:
    """A tool call alone is an answer."""
    got = responses.buffered(
        REQUEST, None, text="", reasoning="", calls=[CALL], finish="tool_calls"
    )
    assert [item["type"] for item in json.loads(got)["output"]] == ["function_call"]


def test_output_text_follows_the_words() -> None:
    """Some servers send this field, which the SDK computes."""
    sse = upstream(Say("Hm... Sure."), output_text="Hm... Sure.")
    got = responses.buffered(REQUEST, sse, text="Sure.", reasoning="", calls=[], finish="stop")
    assert json.loads(got)["output_text"] == "Sure."
