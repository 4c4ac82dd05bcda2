"""A turn whose answers are all empty: a sentence, a pause, a skipped turn, or an error."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from completions.speech.phrases import PHRASES
from local.scripted.script import (
    At,
    Done,
    Finish,
    Role,
    Step,
    Usage,
)
from tests.support.in_process import PlayedUpstream
from tests.support.tools import SKIP_TURN, TRANSFER
from tests.support.ways import CHAT, RESPONSES, Way

pytestmark = pytest.mark.looptime

ENGLISH = PHRASES["en"]


async def test_a_second_empty_answer_becomes_the_failure_sentence(
    way: Way, empty: Sequence[Step]
) -> None:
    """A user who has spoken hears a sentence, not a pause."""
    upstream = PlayedUpstream(empty)
    got = way.read(await way.post(way.caller(upstream)))
    assert (got.text, got.finish, got.calls) == (ENGLISH.failure, "stop", [])
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("history", [[], [("assistant", "Hello.")]])
async def test_a_turn_without_user_words_gets_the_failure_sentence(
    way: Way, empty: Sequence[Step], history: Sequence[tuple[str, str]]
) -> None:
    """Opening a call or continuing it needs words; only a silent user is answered with a pause."""
    body = way.body(history=history)
    got = way.read(await way.post(way.caller(PlayedUpstream(empty)), body))
    assert got.text == ENGLISH.failure


@pytest.mark.parametrize(("user_text", "text"), [("Hello?", ENGLISH.failure), ("...", "... ")])
async def test_an_empty_answer_is_the_same_where_the_history_is_stored(
    user_text: str, text: str, empty: Sequence[Step]
) -> None:
    """A chained turn sends only its last messages, which show whether the user was silent."""
    body = RESPONSES.body(user_text, previous_response_id="resp_1")
    caller = RESPONSES.caller(PlayedUpstream(empty))
    got = RESPONSES.read(await RESPONSES.post(caller, body))
    assert got.text == text


async def test_a_silent_user_hears_a_pause(way: Way, empty: Sequence[Step]) -> None:
    """Three dots and a space keep the call alive."""
    got = way.read(await way.post(way.caller(PlayedUpstream(empty)), way.body("...")))
    assert (got.text, got.finish, got.calls) == ("... ", "stop", [])


async def test_a_second_empty_answer_skips_the_turn_if_skip_turn_is_offered(
    way: Way, empty: Sequence[Step]
) -> None:
    """`skip_turn` is called with its required arguments filled in, and nothing is spoken."""
    upstream = PlayedUpstream(empty)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[TRANSFER, SKIP_TURN])))
    ((name, arguments),) = got.calls
    assert name == "skip_turn"
    assert isinstance(arguments["reason"], str)
    assert (got.text, got.finish) == ("", "tool_calls")


async def test_a_second_empty_answer_to_a_user_message_ends_in_words() -> None:
    """A model that stays empty does not skip every turn."""
    upstream = PlayedUpstream([Role(), Finish(), Done()])
    request = CHAT.body(tools=[SKIP_TURN])
    skipped = {"id": "c", "type": "function", "function": {"name": "skip_turn", "arguments": "{}"}}
    request["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [skipped]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    got = CHAT.read(await CHAT.post(CHAT.caller(upstream), request))
    assert (got.text, got.calls) == (ENGLISH.failure, [])
    request["messages"].append({"role": "user", "content": "Hello?"})
    got = CHAT.read(await CHAT.post(CHAT.caller(upstream), request))
    assert [name for name, _ in got.calls] == ["skip_turn"]


async def test_a_turn_is_not_skipped_with_an_invalid_call(way: Way) -> None:
    """If we cannot fill in the tool's required arguments, words are spoken instead."""
    code = {"type": "string", "pattern": "^[0-9]{9}$"}
    parameters = {"type": "object", "properties": {"code": code}, "required": ["code"]}
    tool = {"name": "skip_turn", "description": "Skips the turn.", "parameters": parameters}
    upstream = PlayedUpstream([Role(), Finish(), Done()])
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[tool])))
    assert (got.text, got.calls) == (ENGLISH.failure, [])


async def test_after_buffer_words_an_empty_answer_is_a_failure(
    way: Way, empty: Sequence[Step]
) -> None:
    """The failure sentence follows them, not a pause or a skipped turn."""
    upstream = PlayedUpstream([At(1600), *empty], empty)
    got = way.read(await way.post(way.caller(upstream), way.body(tools=[SKIP_TURN])))
    assert got.text.endswith(ENGLISH.failure)
    assert [at_ms for at_ms, _ in got.speech] == [1500, 1600]
    assert (got.finish, got.calls) == ("stop", [])


async def test_a_failure_sentence_follows_buffer_words_between_two_empty_answers(
    way: Way, empty: Sequence[Step]
) -> None:
    """Buffer words between the two answers rule out a pause, too."""
    upstream = PlayedUpstream([At(300), *empty], [At(2000), *empty])
    got = way.read(await way.post(way.caller(upstream)))
    assert got.text.endswith(ENGLISH.failure)


async def test_without_buffer_words_a_late_empty_answer_is_a_failure(
    way: Way, empty: Sequence[Step]
) -> None:
    """With buffer words off, only the sentence is heard, however long the model took."""
    upstream = PlayedUpstream([At(8000), *empty], empty)
    request = way.body(elevenlabs_extra_body={"buffer_words": []})
    caller = way.caller(upstream, first_token_timeout_ms=0)
    got = way.read(await way.post(caller, request))
    assert got.text == ENGLISH.failure


async def test_a_client_that_wants_errors_gets_one_for_an_empty_answer(
    way: Way, empty: Sequence[Step]
) -> None:
    """The status says that the answer was empty."""
    heard = await way.post(way.caller(PlayedUpstream(empty)), on_failure="error")
    assert heard.status == 502


async def test_several_empty_answers_are_relayed() -> None:
    """With `n` the caller gets every chunk of the model and one terminator."""
    upstream = PlayedUpstream([Role(), Finish(), Usage(), Done()])
    heard = await CHAT.post(CHAT.caller(upstream), CHAT.body(n=2))
    assert heard.finishes == ["stop"]
    assert heard.ends == 1
    assert len(upstream.requests) == 2
