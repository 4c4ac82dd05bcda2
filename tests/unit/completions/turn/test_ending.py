"""The end of a streamed turn: exactly one, and honest in words, finish or status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from openai import APIError

from completions.errors import KeyUnavailable
from completions.speech.phrases import PHRASES
from local.scripted.script import (
    CallPiece,
    Comment,
    Cut,
    Done,
    Finish,
    Hold,
    Raw,
    Reply,
    Role,
    Say,
    Step,
    Usage,
    answer,
    call,
    refused,
    together,
)
from local.scripted.script_player import RecordedRequest
from tests.support import responses_rules, rules
from tests.support.tools import TRANSFER
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
FALLBACK = answer("From F.", at_ms=1000)
SENTENCE = "It is sunny today. "
Broken = tuple[Sequence[Step], int]
TAIL: list[Step] = [Finish(), Usage(), Done()]
ODD_ENDS: dict[str, list[Step]] = {
    "a doubled terminator": [Finish(), Usage(), Done(), Raw(b"data: [DONE]\n\n")],
    "two in one packet": [Finish(), Usage(), together(Done(), Raw(b"data: [DONE]\n\n"))],
    "comments after it": [Finish(), Usage(), Done(), Comment(), Comment()],
    "it stays open": [Finish(), Usage(), Done(), Hold()],
    "it breaks after it": [Finish(), Usage(), Done(), Cut()],
}
CHAT_ENDS: dict[str, list[Step]] = {
    "none, closed": [Finish(), Usage()],
    "none, open": [Finish(), Usage(), Hold()],
    "none, cut": [Finish(), Usage(), Cut()],
    "no finish": [Usage(), Done()],
    "finished twice": [Finish(), Finish(), Usage(), Done()],
}


# -- the model's own end


@pytest.mark.parametrize("tail", list(ODD_ENDS.values()), ids=list(ODD_ENDS))
async def test_the_stream_ends_once_however_the_upstream_ends_it(
    way: Way, tail: list[Step]
) -> None:
    """Repeated terminators, comments and an open connection change nothing."""
    got, upstream, heard = await way.turn([Role(), Say("Sunny."), *tail], fallback=FALLBACK)
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert len(upstream.requests) == 1
    assert heard.pieces[-1][0] == 0


@pytest.mark.parametrize("tail", list(CHAT_ENDS.values()), ids=list(CHAT_ENDS))
async def test_a_missing_terminator_is_added(tail: list[Step]) -> None:
    """Either a finish or a terminator ends the answer, and usage is sent to callers who want it."""
    got, upstream, heard = await CHAT.turn(
        [Role(), Say("Sunny."), *tail],
        fallback=FALLBACK,
        stream_options={"include_usage": True},
    )
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert got.usage is not None
    assert got.usage["total_tokens"] == 12
    assert len(upstream.requests) == 1
    assert heard.pieces[-1][0] <= 500


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_finish_is_the_models_own(way: Way, reason: str, stream: bool) -> None:
    """Streamed or buffered, the caller gets the model's reason."""
    got, _, _ = await way.turn(answer("Well, well.", finish=reason), stream=stream)
    assert (got.text, got.finish) == ("Well, well.", reason)


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "length"])
async def test_calls_finish_as_calls(way: Way, reason: str) -> None:
    """An answer with calls ends with `tool_calls`, and one without calls never does."""
    script: list[Step] = [Role(), *call("transfer_to_agent", {"agent_number": 1}), Finish(reason)]
    got, _, _ = await way.turn([*script, Done()], tools=[TRANSFER])
    assert got.finish == "tool_calls"
    got, _, _ = await way.turn(answer("Well.", finish="tool_calls"), tools=[TRANSFER])
    assert got.finish == "stop"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "STOP"])
@pytest.mark.parametrize("text", ["{}", ""])
async def test_json_has_an_honest_finish(reason: str, text: str, stream: bool) -> None:
    """Without a call the finish is `stop`, whatever the model says."""
    script: list[Step] = [Role(), Say(text), Finish(reason), Done()]
    got, _, _ = await CHAT.turn(script, stream=stream, json_format=True)
    assert (got.text, got.finish) == (text, "stop")


async def test_a_buffered_call_finishes_as_one() -> None:
    """Gemini sends `stop`; its own extra fields of the call are kept."""
    function = {"name": "transfer_to_agent", "arguments": '{"agent_number": 1}'}
    signed = {"google": {"thought_signature": "Ab"}}
    call_ = {"id": "f1", "type": "function", "function": function, "extra_content": signed}
    message = {"role": "assistant", "content": None, "tool_calls": [call_]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps({**head, "choices": [choice]}).encode()
    got, _, heard = await CHAT.turn([Reply(body)], stream=False, tools=[TRANSFER])
    assert got.finish == "tool_calls"
    (choice,) = json.loads(heard.body)["choices"]
    assert choice["message"]["tool_calls"] == [call_]


# -- an answer that breaks off


async def test_a_cut_after_the_first_sentence_is_closed(way: Way, broken: Broken) -> None:
    """A closing sentence is spoken, and the finish says that the answer is incomplete."""
    steps, after_ms = broken
    got, upstream, _ = await way.turn(
        [Role(), Say(SENTENCE), Say("And"), *steps], fallback=FALLBACK
    )
    assert got.text == f"{SENTENCE}And... {ENGLISH.closing}"
    assert got.speech[-1][0] == after_ms
    assert got.finish == "length"
    assert len(upstream.requests) == 1


async def test_a_complete_call_is_delivered_after_a_cut(way: Way, broken: Broken) -> None:
    """The model's decision is carried out, without a closing sentence."""
    steps, after_ms = broken
    made = call("transfer_to_agent", {"agent_number": 1})
    for before in ([], [Say("I'll transfer you. ")], [Say("I'll")]):
        script: list[Step] = [Role(), *before, *made, *steps]
        got, upstream, heard = await way.turn(script, fallback=FALLBACK, tools=[TRANSFER])
        assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
        assert got.finish == "tool_calls"
        assert ENGLISH.closing not in got.text
        assert heard.pieces[-1][0] == after_ms
        assert len(upstream.requests) == 1


async def test_an_incomplete_call_is_never_delivered(way: Way, broken: Broken) -> None:
    """A call with missing or cut arguments is dropped; a complete one before it is kept."""
    steps, _ = broken
    tool = {"name": "hold", "description": "", "parameters": {"type": "object", "properties": {}}}
    whole = call("transfer_to_agent", {"agent_number": 1})
    halves: list[list[Step]] = [
        [CallPiece(1, "", name="hold", id="call_1")],
        [CallPiece(1, '{"agent', name="transfer_to_agent", id="call_1")],
    ]
    for half in halves:
        script: list[Step] = [Role(), Say(SENTENCE), *half, *steps]
        options: Any = {"fallback": FALLBACK, "settings": {"buffer_words_after_ms": 0}}
        got, _, _ = await way.turn(script, tools=[TRANSFER, tool], **options)
        assert got.calls == []
        assert got.text == SENTENCE + ENGLISH.closing
        script = [Role(), Say(SENTENCE), *whole, *half, *steps]
        got, _, _ = await way.turn(script, tools=[TRANSFER, tool], **options)
        assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
        assert got.text == SENTENCE


async def test_a_second_answer_that_is_cut_is_closed_like_the_first(way: Way) -> None:
    """After feedback, too, heard words get the closing sentence, not the failure sentence."""
    invalid: list[Step] = [Role(), Say(SENTENCE), *call("transfer_to_agent", "{}"), *TAIL]
    second: list[Step] = [Role(), Say("Well"), Cut()]
    got, _, _ = await way.turn(invalid, second, tools=[TRANSFER])
    assert got.text == f"{SENTENCE}Well... {ENGLISH.closing}"
    assert (got.calls, got.finish) == ([], "length")


async def test_a_client_that_wants_errors_gets_an_error_event(way: Way, broken: Broken) -> None:
    """It gets neither a phrase nor a finish, but an event that makes the SDK raise."""
    steps, _ = broken
    got, upstream, heard = await way.turn(
        [Role(), Say("It is"), *steps], fallback=FALLBACK, post={"on_failure": "error"}
    )
    assert (got.text, got.finish) == ("It is", "")
    assert got.error is not None
    assert got.error["message"]
    assert len(upstream.requests) == 1
    sdk: Any = rules.sdk_chunks if way is CHAT else responses_rules.sdk_events
    with pytest.raises(APIError):
        await sdk(heard.body)


async def test_a_json_answer_that_was_cut_is_not_completed(way: Way, broken: Broken) -> None:
    """It ends in an error event, even where failures are spoken."""
    steps, _ = broken
    got, _, _ = await way.turn([Role(), Say('{"a": '), *steps], fallback=FALLBACK, json_format=True)
    assert got.text == '{"a": '
    assert got.error is not None


# -- every model failed


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
async def test_when_all_models_fail_the_caller_hears_a_sentence(way: Way, status: int) -> None:
    """A client that wants errors gets the failure's own status instead of a 200 and a sentence."""
    script = refused(status, message="Enough.", retry_after_s=99)
    got, _, heard = await way.turn(script, fallback=script)
    assert (heard.status, got.text, got.finish) == (200, ENGLISH.failure, "stop")
    got, _, heard = await way.turn(script, fallback=script, post={"on_failure": "error"})
    assert (heard.status, heard.headers["retry-after"]) == (status, "99")
    assert heard.headers["content-type"] == "application/json"


@pytest.mark.parametrize("language", PHRASES)
async def test_every_language_fails_in_its_own_words(way: Way, language: str) -> None:
    """Buffer words and the failure sentence are in one language."""
    got, _, _ = await way.turn([Hold()], elevenlabs_extra_body={"language": language})
    first, second, last = (words for _, words in got.speech)
    assert {first, second} <= set(PHRASES[language].buffer)
    assert first != second
    assert last.strip() == PHRASES[language].failure


@pytest.mark.parametrize("status", [400, 402, 404, 409, 413, 422, 429, 451, 500, 529])
async def test_a_listening_caller_gets_words_and_no_error_status(way: Way, status: int) -> None:
    """A platform that gets an error status posts the turn again, and then drops the call."""
    got, _, heard = await way.turn(refused(status, param="x", code="bad"))
    assert (heard.status, got.text, got.finish) == (200, ENGLISH.failure, "stop")


@pytest.mark.parametrize("status", [400, 402, 404, 409, 413, 422, 429, 451, 500, 529])
async def test_a_program_gets_the_real_status(way: Way, status: int) -> None:
    """A client that asks for errors, for JSON or for one piece decides by the status."""
    script = refused(status, param="x", code="bad")
    for _, _, heard in (
        await way.turn(script, post={"on_failure": "error"}),
        await way.turn(script, json_format=True),
        await way.turn(script, stream=False),
    ):
        assert heard.status == status
        assert json.loads(heard.body)["error"]["code"] == "bad"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_upstream_key_is_not_the_callers_fault(way: Way, status: int) -> None:
    """It becomes a sentence or a 502 `upstream_auth`, never a 401 that blames the caller."""
    got, _, heard = await way.turn(refused(status))
    assert (heard.status, got.text) == (200, ENGLISH.failure)
    for _, _, heard in (
        await way.turn(refused(status), post={"on_failure": "error"}),
        await way.turn(refused(status), stream=False),
    ):
        assert heard.status == 502
        assert json.loads(heard.body)["error"]["code"] == "upstream_auth"


async def test_a_fault_of_ours_keeps_its_status() -> None:
    """Without an upstream key no model was asked, and the status tells the platform so."""
    for on_failure in ("speak", "error"):
        _, _, heard = await CHAT.turn(_without_a_key, post={"on_failure": on_failure})
        assert heard.status == 503
        assert json.loads(heard.body)["error"]["code"] == "key_unavailable"


def _without_a_key(_: RecordedRequest) -> list[Step]:
    raise KeyUnavailable("No key can be read.")


# -- a content filter

AZURE: dict[str, Any] = {
    "message": "The response was filtered due to the content management policy.",
    "param": "prompt",
    "code": "content_filter",
}
WITHHELD: dict[str, list[Step]] = {
    "refused": refused(400, **AZURE),
    "refused in a stream": [
        Role(),
        Raw(f"data: {json.dumps({'error': AZURE})}\n\n".encode()),
    ],
    "finished": [Role(), Finish("content_filter"), Done()],
    "finished, in Gemini's words": [Role(), Finish("PROHIBITED_CONTENT"), Done()],
    "finished, in Bedrock's": [Role(), Finish("guardrail_intervened"), Done()],
}


@pytest.mark.parametrize("script", list(WITHHELD.values()), ids=list(WITHHELD))
async def test_a_filtered_answer_is_declined(script: list[Step]) -> None:
    """Repeating the question would not help, so a different sentence is spoken."""
    got, upstream, heard = await CHAT.turn(script)
    assert (heard.status, got.text, got.finish) == (200, ENGLISH.declined, "stop")
    assert len(upstream.requests) == 1
    got, _, _ = await CHAT.turn(script, elevenlabs_extra_body={"language": "de"})
    assert got.text == PHRASES["de"].declined


@pytest.mark.parametrize("script", list(WITHHELD.values()), ids=list(WITHHELD))
async def test_another_model_may_have_no_such_filter(script: list[Step]) -> None:
    """The fallback is asked first; if it fails for good, too, the filter is reported."""
    got, _, _ = await CHAT.turn(script, fallback=answer("From F."))
    assert got.text == "From F."
    got, _, _ = await CHAT.turn(refused(400), fallback=script)
    assert got.text == ENGLISH.declined


@pytest.mark.parametrize("script", list(WITHHELD.values()), ids=list(WITHHELD))
async def test_a_program_gets_the_filters_error_code(script: list[Step]) -> None:
    """SDKs know the code; it is the same whether the filter refused or cut the answer."""
    _, _, heard = await CHAT.turn(script, post={"on_failure": "error"})
    assert heard.status == 400
    assert json.loads(heard.body)["error"]["code"] == "content_filter"


async def test_an_answer_that_a_filter_cuts_is_closed() -> None:
    """After half a sentence a closing sentence gives the reason; a complete one needs none."""
    cut: list[Step] = [Role(), Say("We are open. The kitch"), Finish("content_filter"), Done()]
    got, _, _ = await CHAT.turn(cut)
    assert got.text == f"We are open. The kitch... {ENGLISH.declined}"
    assert got.finish == "content_filter"
    got, _, _ = await CHAT.turn(cut, post={"on_failure": "error"})
    assert got.text == "We are open. The kitch"
    got, _, _ = await CHAT.turn([Role(), Say("Yes."), Finish("content_filter"), Done()])
    assert got.text == "Yes."


async def test_a_filter_in_a_silent_turn_is_not_mentioned() -> None:
    """The user asked nothing, so the turn ends as an empty one."""
    got, _, _ = await CHAT.turn(WITHHELD["finished"], text="...")
    assert got.text.strip() == "..."


async def test_after_buffer_words_a_failure_has_no_status(way: Way) -> None:
    """A caller hears a sentence whatever failed; a client that wants errors gets the event."""
    for script in (refused(500, at_ms=1600), refused(404, at_ms=1600), refused(401, at_ms=1600)):
        got, _, _ = await way.turn(script)
        assert got.text.endswith(f"... {ENGLISH.failure}")
        asked_for = {"buffer_words_after_ms": 1500}
        got, _, heard = await way.turn(
            script, post={"on_failure": "error"}, elevenlabs_extra_body=asked_for
        )
        assert heard.status == 200
        assert got.error is not None


async def test_a_slow_failure_has_a_status_if_no_words_were_wanted(way: Way) -> None:
    """Buffer words would turn the SDK's 429 into a stream that breaks."""
    for script in (refused(429, at_ms=2900), refused(401, at_ms=1600)):
        _, _, heard = await way.turn(
            script,
            settings={"first_token_timeout_ms": 0, "turn_budget_ms": 3000},
            post={"on_failure": "error"},
        )
        assert heard.status in {429, 502}
        assert heard.events == []


async def test_a_json_format_fails_by_its_status(way: Way) -> None:
    """A program that asked for JSON gets a status, not the failure sentence."""
    _, _, heard = await way.turn(refused(503), json_format=True)
    assert heard.status == 503
