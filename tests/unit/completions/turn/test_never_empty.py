"""A turn that would end without speech and without a call: asked once more, then never silent."""

from __future__ import annotations

from typing import Any

import pytest

from completions.speech.phrases import PHRASES
from tests.support.in_process import PlayedUpstream
from tests.support.script import (
    At,
    Cut,
    Done,
    Finish,
    Hold,
    Raw,
    Reply,
    Role,
    Say,
    Step,
    Think,
    Unstreamed,
    Usage,
    answer,
    call,
    calls,
    refused,
)
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]
PAUSE = "... "
SKIP = {
    "name": "skip_turn",
    "description": "Skip the turn.",
    "parameters": {
        "type": "object",
        "properties": {"reason": {"type": "string"}},
        "required": ["reason"],
    },
}
TRANSFER = {
    "name": "transfer_to_agent",
    "description": "Transfers the call.",
    "parameters": {
        "type": "object",
        "properties": {"agent_number": {"type": "integer"}},
        "required": ["agent_number"],
    },
}
TAIL: list[Step] = [Finish(), Usage(), Done()]
EMPTY: dict[str, list[Step]] = {
    "a role": [Role(), *TAIL],
    "reasoning": [Role(), Think("Well, "), Think("well."), *TAIL],
    "a think block": [Role(), Say("<think>Well.</think>"), *TAIL],
    "a think block in pieces": [Role(), *map(Say, "<think>Well.</think>\n"), *TAIL],
    "a think block without an end": [Role(), Say("<think>Well. And "), Say("then"), *TAIL],
    "a terminator": [Raw(b"data: [DONE]\n\n")],
    "no letters": [Role(), Say("..."), Say(" \n"), *TAIL],
    "an empty JSON answer": [Unstreamed(), Finish()],
}


@pytest.fixture(params=list(EMPTY.values()), ids=list(EMPTY))
def empty(request: pytest.FixtureRequest) -> Any:
    """An answer without a word or a call."""
    return request.param


async def test_it_is_asked_once_more(way: Way, empty: list[Step]) -> None:
    """The second answer is heard as if it were the first."""
    upstream = PlayedUpstream([At(300), *empty], answer("Sunny.", at_ms=700))
    got = way.read(await way.post(way.caller(upstream)))
    assert got.speech == [(1000, "Sunny.")]
    assert got.finish == "stop"
    assert len(upstream.requests) == 2


async def test_the_other_model_is_asked_first(way: Way, empty: list[Step]) -> None:
    """Who had nothing to say is asked again last."""
    upstream = PlayedUpstream(empty, fallback=answer("From F."))
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text == "From F."
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "fallback"]


async def test_then_it_is_a_pause(way: Way, empty: list[Step]) -> None:
    """ParsedRequest twice and no more; three dots and a space are something to go on with."""
    upstream = PlayedUpstream(empty)
    got = way.read(await way.post(way.caller(upstream)))
    assert (got.text, got.finish, got.calls) == (PAUSE, "stop", [])
    assert len(upstream.requests) == 2


async def test_or_the_turn_is_skipped(way: Way, empty: list[Step]) -> None:
    """`skip_turn`, where it is offered, with its required arguments filled; and no word."""
    upstream = PlayedUpstream(empty)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[TRANSFER, SKIP])))
    ((name, arguments),) = got.calls
    assert name == "skip_turn"
    assert isinstance(arguments["reason"], str)
    assert (got.text, got.finish) == ("", "tool_calls")


async def test_buffer_words_are_no_answer(way: Way, empty: list[Step]) -> None:
    """After them comes the failure sentence; neither a pause nor a skipped turn."""
    upstream = PlayedUpstream([At(1600), *empty], empty)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[SKIP])))
    assert got.text.endswith(ENGLISH.failure)
    assert [at_ms for at_ms, _ in got.speech] == [1500, 1600]
    assert (got.finish, got.calls) == ("stop", [])


async def test_buffer_words_for_the_second_question_are_none_either(
    way: Way, empty: list[Step]
) -> None:
    """They may come between the two answers."""
    upstream = PlayedUpstream([At(300), *empty], [At(2000), *empty])
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith(ENGLISH.failure)


async def test_an_agent_without_buffer_words_gets_its_pause(way: Way, empty: list[Step]) -> None:
    """None were spoken, however long it took."""
    upstream = PlayedUpstream([At(8000), *empty], empty)
    request = way.body(elevenlabs_extra_body={"buffer_words": []})
    caller = way.caller(upstream, first_token_timeout_ms=0)
    got = way.read(await way.post(caller, request))
    assert got.text == PAUSE


async def test_a_turn_is_skipped_once_a_user_message() -> None:
    """A model that says nothing twice would skip for ever."""
    upstream = PlayedUpstream(EMPTY["a role"])
    request = CHAT.body(tools=[SKIP])
    skipped = {"id": "c", "type": "function", "function": {"name": "skip_turn", "arguments": "{}"}}
    request["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [skipped]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    got = CHAT.read(await CHAT.post(CHAT.caller(upstream), request))
    assert (got.text, got.calls) == (PAUSE, [])
    request["messages"].append({"role": "user", "content": "Hello?"})
    got = CHAT.read(await CHAT.post(CHAT.caller(upstream), request))
    assert [name for name, _ in got.calls] == ["skip_turn"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_who_was_stopped_is_not_asked_again(way: Way, reason: str) -> None:
    """It would be stopped again; only somebody else may be asked."""
    stopped: list[Step] = [Role(), Think("Well."), Finish(reason), Done()]
    alone = PlayedUpstream(stopped)
    got = way.read(await way.post(way.caller(alone)))
    assert got.text == PAUSE
    assert len(alone.requests) == 1
    both = PlayedUpstream(stopped, fallback=answer("From F."))
    assert way.read(await way.post(way.caller(both))).text == "From F."
    assert [seen.candidate for seen in both.requests] == ["upstream", "fallback"]


async def test_a_closed_connection_is_a_failure(way: Way) -> None:
    """Nothing at all came, three times: the caller hears so, a client gets the status."""
    scripts: list[list[Step]] = [[], [Role()], [Role(), Think("Well.")], [Role(), Cut()]]
    for script in scripts:
        upstream = PlayedUpstream(script)
        got = way.read(await way.post(way.caller(upstream)))
        assert got.text == ENGLISH.failure
        assert len(upstream.requests) == 3
        heard = await way.post(way.caller(PlayedUpstream(script)), on_failure="error")
        assert heard.status == 502


async def test_a_hopeless_call_alone_is_asked_for_again_and_then_told(way: Way) -> None:
    """The model hears what is wrong; failing that, the caller hears that something is."""
    bad = calls("transfer_to_agent", {"agent_number": "sales"})
    upstream = PlayedUpstream(bad, calls("transfer_to_agent", {"agent_number": 2}))
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[TRANSFER, SKIP])))
    assert got.calls == [("transfer_to_agent", {"agent_number": 2})]
    note = upstream.requests[1].json[
        "messages" if way.upstream_path == "/chat/completions" else "input"
    ][-1]
    assert "agent_number" in note["content"]
    upstream = PlayedUpstream(bad)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[TRANSFER, SKIP])))
    assert (got.text, got.calls, got.finish) == (ENGLISH.failure, [], "stop")
    assert len(upstream.requests) == 2


async def test_a_hopeless_call_after_words_is_never_followed_by_silence(way: Way) -> None:
    """Who was told of a transfer hears a word after it, however the second try ends."""
    bad: list[Step] = [Role(), Say("I'm transferring you. "), *call("transfer_to_agent", "{}")]
    seconds: list[list[Step]] = [
        [*bad, *TAIL],
        EMPTY["a role"],
        list(refused(500)),
        list(refused(400, param="x")),
        [Hold()],
        [Role(), Cut()],
    ]
    for second in seconds:
        upstream = PlayedUpstream([*bad, *TAIL], second)
        got = way.read(await way.post(way.caller(upstream), way.body(tools=[TRANSFER])))
        assert got.text.startswith("I'm transferring you. ")
        assert got.text.endswith(ENGLISH.failure)
        assert (got.calls, got.finish) == ([], "stop")


async def test_the_second_answers_words_are_not_glued_to_the_first(way: Way) -> None:
    """Both are heard; speech needs the space."""
    bad: list[Step] = [Role(), Say("One moment."), *call("transfer_to_agent", "{}"), *TAIL]
    upstream = PlayedUpstream(bad, answer("Sorry, nobody is there."))
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[TRANSFER])))
    assert got.text == "One moment. Sorry, nobody is there."


async def test_silence_after_a_late_model_is_asked_about_once_more(way: Way) -> None:
    """The fallback said nothing, the late one failed: that is silence, not failure."""
    upstream = PlayedUpstream(
        refused(500, at_ms=3500), answer("Sunny."), fallback=[Raw(b"data: [DONE]\n\n")]
    )
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith("Sunny.")
    assert len(upstream.requests) == 3


async def test_a_client_that_wants_errors_is_not_left_with_nothing_either(
    way: Way, empty: list[Step]
) -> None:
    """The same pause: an answer without a word kills the call."""
    got = way.read(await way.post(way.caller(PlayedUpstream(empty)), on_failure="error"))
    assert got.text == PAUSE


async def test_a_buffered_answer_is_asked_for_once_more(way: Way) -> None:
    """And then relayed as it is: no words of ours belong into it."""
    for script in (EMPTY["a role"], EMPTY["reasoning"], EMPTY["a think block"]):
        upstream = PlayedUpstream(script, answer("Sunny."))
        got = way.read(await way.post(way.caller(upstream), way.body(stream=False)))
        assert (got.text, got.finish) == ("Sunny.", "stop")
        upstream = PlayedUpstream(script)
        heard = await way.post(way.caller(upstream), way.body(stream=False))
        got = way.read(heard)
        assert (heard.status, got.text.strip(), got.finish) == (200, "", "stop")
        assert len(upstream.requests) == 2


async def test_a_json_answer_is_asked_for_once_more(way: Way) -> None:
    """And then ended as the model ended it."""
    upstream = PlayedUpstream(EMPTY["reasoning"], answer('{"a": 1}'))
    got = way.read(await way.post(way.caller(upstream), way.body(json_format=True)))
    assert got.text == '{"a": 1}'
    upstream = PlayedUpstream(EMPTY["a role"])
    got = way.read(await way.post(way.caller(upstream), way.body(json_format=True)))
    assert (got.text, got.finish) == ("", "stop")


async def test_json_needs_no_letter(way: Way) -> None:
    """`[]` is an answer, where JSON was asked for."""
    script = [Role(), Say("["), Say("]"), *TAIL]
    upstream = PlayedUpstream(script)
    got = way.read(await way.post(way.caller(upstream), way.body(json_format=True)))
    assert got.text == "[]"
    assert len(upstream.requests) == 1


async def test_several_empty_answers_are_relayed() -> None:
    """With `n` the caller gets every frame of the model, and one terminator."""
    upstream = PlayedUpstream([Role(), Finish(), Usage(), Done()])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(n=2))
    assert heard.finishes == ["stop"]
    assert heard.ends == 1
    assert len(upstream.requests) == 2


async def test_an_empty_body_is_a_failure(way: Way) -> None:
    """200 and nothing, or JSON that is something else: the next one is asked."""
    for body in (b"", b"{}", b"null", b"[]", b'{"choices": []}', b'"hello"'):
        for stream in (True, False):
            upstream = PlayedUpstream([Reply(body)], fallback=answer("From F."))
            got = way.read(await way.post(way.caller(upstream), way.body(stream=stream)))
            assert got.text == "From F.", body
            assert len(upstream.requests) == 2
