"""One call, played against healthy and broken servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from ops.call.agent import Agent, AgentServer, Patience, Tool
from ops.call.call import Call
from ops.call.system_tools import offered
from ops.call.turn import Event
from ops.pasted_url import Address
from tests.support.patients import (
    DONE,
    KEY,
    OPENING,
    Answer,
    Request,
    chunk,
    refusal,
    response,
    serve,
    speech,
)

QUICK = 200.0
"""Speech so fast that no test waits for it."""


def _called(name: str, arguments: str, words: str = "") -> Answer:
    part = {"index": 0, "id": "call_1", "type": "function"}
    function = {"name": name, "arguments": arguments}
    spoken = [chunk({"content": words})] if words else []
    calls = chunk({"tool_calls": [{**part, "function": function}]})
    return Answer(pieces=(OPENING, *spoken, calls, chunk({}, "tool_calls"), DONE))


class _Answers:
    """A server that gives one answer after the other, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[Request] = []
        self._answers = list(answers)

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        return self._answers[min(len(self.requests), len(self._answers)) - 1]

    def messages(self, number: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.requests[number].json["messages"]
        return messages


def _agent(*tools: str | Tool, **more: Any) -> Agent:
    known = tuple(tool if isinstance(tool, Tool) else offered(tool) for tool in tools)
    return Agent(tools=tuple(tool for tool in known if tool), **more)


@contextmanager
def _call(server: _Answers, agent: Agent | None = None, **more: Any) -> Iterator[Call]:
    with serve(server) as url:
        called = AgentServer(Address.parse(url), KEY)
        yield Call(called, agent or _agent(), **{"speed": QUICK, **more})


def test_a_call_keeps_what_was_said_by_both() -> None:
    """The second request holds the first turn, and the events describe it as it was heard."""
    server = _Answers(Answer(pieces=speech(["Yes, ", "hello."])))
    events: list[Event] = []
    with _call(server, _agent(first_message="Shop."), on_event=events.append) as call:
        turn = call.say("Hello?")
        call.say("And now?")
    assert turn.heard_text == "Yes, hello."
    assert [message["content"] for message in server.messages(1)[1:]] == [
        "Shop.",
        "Hello?",
        "Yes, hello.",
        "And now?",
    ]
    assert [event.kind for event in events[:3]] == ["asked", "words", "words"]
    assert "".join(event.text for event in events[1:3]) == "Yes, hello."
    assert turn.troubles == []


def test_the_other_api_is_played_as_well() -> None:
    """An agent of the Responses API sends and receives its shapes."""
    server = _Answers(Answer(pieces=response()))
    with _call(server, _agent(api_type="responses")) as call:
        assert call.say("Hello?").heard_text == "Yes."
    assert server.requests[0].path.endswith("/responses")


def test_what_was_not_heard_is_not_kept() -> None:
    """An interruption closes the request, and history ends with the word that was interrupted."""
    words = ["On", "Mondays", "we", "open", "at", "nine,", "on", "Tuesdays", "at", "ten."]
    held = (*speech([f"{word} " for word in words])[:-2], 30.0)
    server = _Answers(Answer(pieces=held), Answer(pieces=speech(["Sundays."])))
    with _call(server, speed=20) as call:
        turn = call.say("Hours?", until_heard="on Mondays we")
        assert turn.heard_text == "On Mondays we "
        assert turn.unheard_text.startswith("open at nine")
        assert turn.posts[-1].came.left
        call.say("Only Sunday.")
    assert server.messages(1)[2]["content"] == "On Mondays we"


def test_speech_can_be_interrupted_after_the_answer_has_come() -> None:
    """An answer that has arrived whole can still be interrupted while it is spoken."""
    server = _Answers(Answer(pieces=speech(["One ", "two ", "three ", "four."])))
    with _call(server, speed=2) as call:
        turn = call.say("Count.", until_heard="one two")
    assert turn.heard_text == "One two "
    assert not turn.posts[-1].came.left


def test_another_thread_can_interrupt_a_silent_model() -> None:
    """An interruption before the first word ends the request at once, and nothing is kept."""
    server = _Answers(Answer(pieces=(OPENING, 30.0)), Answer(pieces=speech(["Yes."])))
    calls: list[Call] = []

    def interrupt(event: Event) -> None:
        if event.kind == "asked" and len(server.requests) < 2 and len(calls[0].turns) == 1:
            threading.Timer(0.1, calls[0].interrupt).start()

    with _call(server, on_event=interrupt) as call:
        calls.append(call)
        turn = call.say("Hello?")
        assert turn.interrupted_at_ms is not None
        assert call.ended == ""
        assert not call.interrupt()
        call.say("Hello!")
    assert [message["role"] for message in server.messages(1)] == ["system", "user", "user"]


def test_a_request_without_words_is_posted_again() -> None:
    """When the platform's patience ends, the same body is posted again, and its answer counts."""
    server = _Answers(Answer(pieces=(OPENING, 30.0)), Answer(pieces=speech(["Yes."])))
    patience = Patience(cascade_timeout_s=0.3)
    with _call(server, _agent(patience=patience)) as call:
        turn = call.say("Hello?")
    assert turn.heard_text == "Yes."
    assert [post.gave_up for post in turn.posts] == [True, False]
    assert turn.first_sound_ms is not None
    assert turn.first_sound_ms >= turn.posts[0].ended_at_ms
    assert server.requests[0].raw == server.requests[1].raw


@pytest.mark.parametrize(
    ("answer", "cause", "posts"),
    [
        (refusal(503, "upstream_unavailable"), "model_down", 3),
        (refusal(401, "invalid_api_key"), "caller_key", 3),
        (Answer(pieces=(OPENING, chunk({}, "stop"), DONE)), "silent", 1),
    ],
)
def test_a_turn_without_words_drops_the_call(answer: Answer, cause: str, posts: int) -> None:
    """The call drops after three posts that fail, or after one empty answer."""
    server = _Answers(answer)
    with _call(server) as call:
        turn = call.say("Hello?")
    assert call.ended == turn.ended == "failed"
    assert [trouble.cause for trouble in turn.troubles] == [cause]
    assert len(server.requests) == posts
    with pytest.raises(RuntimeError, match="ended: failed"):
        call.say("Hello?")


def test_a_turn_has_a_limit() -> None:
    """The platform ends an answer that never ends, and the call with it."""
    server = _Answers(Answer(pieces=(OPENING, chunk({"content": "Well, "}), 30.0)))
    with _call(server, _agent(patience=Patience(turn_s=0.5))) as call:
        turn = call.say("Hello?")
    assert turn.heard_text == "Well, "
    assert (call.ended, turn.troubles[0].cause) == ("failed", "timeout")


def test_a_cut_answer_is_heard_and_reported() -> None:
    """Words before a broken connection were heard, and the break is reported separately."""
    pieces = (OPENING, chunk({"content": "Until "}), chunk({"content": "six"}))
    with _call(_Answers(Answer(pieces=pieces, whole=False))) as call:
        turn = call.say("Hello?")
    assert turn.heard_text == "Until six"
    assert [trouble.cause for trouble in turn.troubles] == ["cut"]


def test_goodbye_ends_the_call() -> None:
    """The call of end_call is carried out, and its farewell is spoken by the platform."""
    arguments = '{"reason": "done", "message": "Take care."}'
    server = _Answers(_called("end_call", arguments, "Goodbye. "))
    with _call(server, _agent("end_call")) as call:
        turn = call.say("That is all.")
    assert (call.ended, turn.platform_says, turn.troubles) == ("hung_up", "Take care.", [])


def test_a_farewell_that_was_spoken_is_not_spoken_again() -> None:
    """A farewell that the answer already contains is spoken once."""
    arguments = '{"reason": "done", "message": "Goodbye, and take care."}'
    server = _Answers(_called("end_call", arguments, "Goodbye and take care! "))
    with _call(server, _agent("end_call")) as call:
        turn = call.say("That is all.")
    assert [trouble.cause for trouble in turn.troubles] == ["said_twice"]


def test_a_changed_language_is_answered_at_once() -> None:
    """After the result the model is asked again, without a new message of the caller."""
    server = _Answers(
        _called("language_detection", '{"reason": "asked", "language": "de"}'),
        Answer(pieces=speech(["Ja, gern."])),
    )
    with _call(server, _agent("language_detection")) as call:
        turn = call.say("Deutsch?")
        assert turn.asks_again
        assert call.language == "de"
        assert call.go_on().heard_text == "Ja, gern."
    assert [message["role"] for message in server.messages(1)][-2:] == ["assistant", "tool"]


def test_state_is_kept() -> None:
    """State that the model sets stays with the call."""
    server = _Answers(_called("update_state", '{"name": "Ada"}'))
    with _call(server, _agent("update_state")) as call:
        call.say("I am Ada.")
    assert call.state == {"name": "Ada"}


BOOK = Tool("book", parameters={"type": "object", "properties": {"day": {"type": "string"}}})


def test_the_agents_own_tool_gets_its_result() -> None:
    """The result is kept as JSON next to its call, and the model is asked again."""
    seen: list[tuple[str, Mapping[str, Any]]] = []

    def results(name: str, arguments: Mapping[str, Any]) -> Any:
        seen.append((name, arguments))
        return {"ok": True}

    server = _Answers(_called("book", '{"day": "Friday"}'), Answer(pieces=speech(["Done."])))
    with _call(server, _agent(BOOK), results=results) as call:
        assert call.say("Book.").asks_again
        call.go_on()
    assert seen == [("book", {"day": "Friday"})]
    assert json.loads(server.messages(1)[-1]["content"]) == {"ok": True}


def test_a_result_may_come_late() -> None:
    """A caller may speak while a call is open; the result is posted when it comes."""
    server = _Answers(_called("book", "{}"), Answer(pieces=speech(["Wait."])))
    with _call(server, _agent(BOOK)) as call:
        assert not call.say("Book.").asks_again
        assert call.waiting == {"call_1": "book"}
        call.say("Are you there?")
        assert call.result("book", {"ok": True})
        assert not call.result("book", {"ok": True})
        call.go_on()
    assert [m["role"] for m in server.messages(2)][-3:] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("tools", "arguments", "cause"),
    [((), "{}", "unknown_tool"), ((BOOK,), '{"day": 5}', "unusable_call")],
)
def test_an_impossible_call_gets_an_error(
    tools: tuple[Tool, ...], arguments: str, cause: str
) -> None:
    """An unknown tool, and arguments that do not fit, get an error as their result."""
    with _call(_Answers(_called("book", arguments)), _agent(*tools)) as call:
        turn = call.say("Book.")
    assert [trouble.cause for trouble in turn.troubles] == [cause]
    assert turn.asks_again
