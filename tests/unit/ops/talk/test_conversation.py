"""The call that the page controls, its drawing, and its saved file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from ops.call.agent import AgentServer
from ops.pasted_url import Address
from ops.talk.conversation import Conversation
from tests.support.patients import DONE, KEY, OPENING, Answer, Request, chunk, serve, speech

BOOK = {"name": "book", "parameters": {"type": "object", "properties": {}}}
LIVES = [{"candidate": "upstream", "asked": "first", "sent_ms": 1.0, "why": "answered"}]


def _called(name: str) -> Answer:
    function = {"name": name, "arguments": "{}"}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    pieces = (OPENING, chunk({"tool_calls": [call]}), chunk({}, "tool_calls"), DONE)
    return Answer(pieces=pieces)


def _says(text: str) -> Answer:
    comment = b": candidates " + json.dumps(LIVES).encode() + b"\n"
    pieces = [comment + each if each == DONE else each for each in speech([text])]
    return Answer(pieces=tuple(pieces))


@contextmanager
def _conversation(
    *answers: Answer, behaviour: Callable[[], str] | None = None, speed: float = 200
) -> Iterator[tuple[Conversation, list[Request]]]:
    requests: list[Request] = []

    def server(request: Request) -> Answer:
        requests.append(request)
        return answers[min(len(requests), len(answers)) - 1]

    with serve(server) as url:
        called = AgentServer(Address.parse(url), KEY)
        yield Conversation(called, model="m", speed=speed, behaviour=behaviour), requests


def _until(
    conversation: Conversation, fits: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, Any]:
    """Return the first turn event that fits."""
    version = 0
    while True:
        version, news = conversation.changes(version, 20)
        assert news
        for text in news:
            turn = json.loads(text).get("turn")
            if turn and fits(turn):
                return dict(turn)


def _over(number: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda turn: turn["number"] == number and turn["now_ms"] is None


def test_a_turn_is_drawn_with_its_candidates() -> None:
    """A turn has words with times, frames, and each request from the deployment's comment."""
    with _conversation(_says("Yes, we are.")) as (conversation, requests):
        conversation.say("Are you open?")
        turn = _until(conversation, _over(1))
    assert "".join(word["text"] for word in turn["words"]) == "Yes, we are."
    assert turn["candidates"][0]["candidate"] == "upstream"
    assert turn["first_sound_ms"] is not None
    assert turn["tokens"]
    assert "[DONE]" in turn["posts"][0]["frames"][-1][1]
    assert requests[0].headers["x-completions-comments"] == "candidates"


def test_a_page_that_connects_late_gets_everything() -> None:
    """A page that connects late gets the call, then its turns."""
    with _conversation(_says("Yes.")) as (conversation, _):
        conversation.say("Hello?")
        _until(conversation, _over(1))
        _, news = conversation.changes(0, 20)
    assert [next(iter(json.loads(text))) for text in news] == ["call", "turn"]


def test_speaking_over_the_agent_interrupts_it() -> None:
    """Speaking over the agent ends its turn, and the history keeps what was heard."""
    with _conversation(_says("On Mondays we open at nine."), _says("Yes."), speed=1) as talk:
        conversation, requests = talk
        conversation.say("Your hours?")
        _until(conversation, lambda turn: bool(turn["words"]))
        conversation.say("Stop.")
        first = _until(conversation, _over(1))
        _until(conversation, lambda turn: turn["number"] == 2 and bool(turn["words"]))
        conversation.interrupt()
        _until(conversation, _over(2))
    assert first["interrupted_at_ms"] is not None
    assert "nine" in first["unheard"]
    assert "nine" not in json.dumps(requests[1].json["messages"])


def test_a_tool_is_carried_out_and_the_agent_goes_on() -> None:
    """A tool with a known result starts the next turn at once."""
    with _conversation(_called("book"), _says("Done.")) as (conversation, requests):
        conversation.begin({"tools": [{**BOOK, "result": {"ok": True}}]})
        conversation.say("Book.")
        second = _until(conversation, _over(2))
    assert second["caller"] is None
    assert second["results"] == ['{"ok": true}']
    assert requests[1].json["messages"][-1]["role"] == "tool"


def test_a_result_may_come_from_the_page() -> None:
    """A tool without a result waits for one from the page."""
    with _conversation(_called("book"), _says("Done.")) as (conversation, _):
        conversation.begin({"tools": [BOOK]})
        conversation.say("Book.")
        first = _until(conversation, _over(1))
        conversation.result(first["waits_for"][0], {"ok": False})
        second = _until(conversation, _over(2))
        saved = yaml.safe_load(conversation.saved())
    assert second["heard"] == "Done."
    assert saved["turns"][0]["result"] == {"book": {"ok": False}}


def test_another_call_begins_empty() -> None:
    """A new call has its own settings and number, and no turns."""
    with _conversation(_says("Ja.")) as (conversation, requests):
        conversation.say("Hello?")
        _until(conversation, _over(1))
        conversation.begin({"prompt": "Kurz.", "language": "de", "first_message": "Hallo."})
        conversation.say("Hallo?")
        turn = _until(conversation, _over(1))
    assert turn["heard"] == "Ja."
    assert requests[1].json["elevenlabs_extra_body"] == {"language": "de"}
    assert [each["content"] for each in requests[1].json["messages"]] == [
        "Kurz.",
        "Hallo.",
        "Hallo?",
    ]


def test_a_saved_call_has_words_scripts_and_expectations() -> None:
    """The file is YAML with agent, callers, scripts of the model and expectations."""
    behaviours = iter(["well", "sick", "empty"])
    behaviour = {"is": "well"}
    with _conversation(_says("Yes."), _called("book"), behaviour=lambda: behaviour["is"]) as talk:
        conversation, _ = talk
        conversation.begin({"prompt": "“Brief”: yes", "tools": [BOOK], "system_tools": []})
        for number, each in enumerate(behaviours, 1):
            behaviour["is"] = each
            conversation.say(f"Turn {number}?")
            _until(conversation, _over(number))
        saved = yaml.safe_load(conversation.saved())
    assert saved["agent"]["prompt"] == "“Brief”: yes"
    assert saved["agent"]["tools"] == [{"book": {"parameters": BOOK["parameters"]}}]
    assert [turn["caller"] for turn in saved["turns"]] == ["Turn 1?", "Turn 2?", "Turn 3?"]
    assert saved["turns"][0]["model"] == {"say": "Yes."}
    assert saved["turns"][0]["expect"] == {"buffer_words": 0, "says": "Yes."}
    assert saved["turns"][1]["model"] == {"fails": 503}
    assert saved["turns"][2]["model"] == {"empty": True}


def test_a_call_with_an_unknown_model_is_saved_without_scripts() -> None:
    """A call saved from a deployed URL has no scripts and expects no words of a real model."""
    with _conversation(_says("Yes.")) as (conversation, _):
        conversation.say("Hello?")
        _until(conversation, _over(1))
        saved = yaml.safe_load(conversation.saved())
    assert saved["turns"] == [{"caller": "Hello?", "expect": {"buffer_words": 0}}]
