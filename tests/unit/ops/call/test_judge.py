"""Planted faults are each caught by name, and a healthy server passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.call.agent import AgentServer
from ops.call.call_file import load
from ops.call.judge import _history
from ops.call.play import Played, play
from ops.doctor.strict_reader import FAILURE_SENTENCE
from ops.pasted_url import Address
from tests.support.patients import (
    DONE,
    KEY,
    OPENING,
    Answer,
    Request,
    chunk,
    refusal,
    serve,
    speech,
)

HOURS = """
call: hours
agent: {tools: [end_call, language_detection], cascade_timeout_s: 0.5}
turns:
  - caller: Are you open?
    expect: {says: until six, says_once: six, first_sound_within_ms: 400, buffer_words: 1,
             never_says: [gern, Sorry], calls: [], ends: goes_on}
"""
GOODBYE = """
call: goodbye
agent: {tools: [end_call]}
turns:
  - caller: That was all.
    expect: {says_once: take care, calls: [{end_call: {reason: done}}], ends: hung_up}
"""
BYE = '{"reason": "done", "message": "Goodbye, and take care."}'
YES = speech(["Yes, ", "until ", "six."])


def _ends(words: str, arguments: str = BYE) -> Answer:
    function = {"name": "end_call", "arguments": arguments}
    part = {"index": 0, "id": "call_1", "type": "function", "function": function}
    spoken = [chunk({"content": words})] if words else []
    pieces = (OPENING, *spoken, chunk({"tool_calls": [part]}), chunk({}, "tool_calls"), DONE)
    return Answer(pieces=pieces)


def _play(folder: Path, text: str, *answers: Answer, key: str = KEY) -> Played:
    file = folder / "call.yaml"
    file.write_text(text, "utf-8")
    left = list(answers)

    def server(request: Request) -> Answer:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return refusal(401, "invalid_api_key")
        return left.pop(0) if len(left) > 1 else left[0]

    with serve(server) as url:
        return play(load(file), AgentServer(Address.parse(url), key), speed=50)


@pytest.mark.parametrize(
    ("text", "answers", "name"),
    [
        (HOURS, [Answer(pieces=(0.45, *YES))], "first_sound_within_ms"),
        (HOURS, [Answer(pieces=speech(["One moment... ", "Just a second... ", "Yes, until six."]))],
         "buffer_words"),
        (GOODBYE, [Answer(pieces=speech(["Goodbye, and take care."]))], "calls"),
        (GOODBYE, [_ends("Goodbye, and take care. ")], "says_once"),
        (GOODBYE, [_ends("Goodbye, and take care. ")], "said_twice"),
        (HOURS, [Answer(pieces=speech(["Ja, gern, ", "until six."]))], "never_says"),
        (HOURS, [Answer(pieces=speech(["One moment...", "Yes, until six."]))], "words_glued"),
        (HOURS, [Answer(pieces=speech(["Yes, until six.", "Anything else?"]))], "words_glued"),
        (HOURS, [Answer(pieces=(OPENING, chunk({}, "stop"), DONE))], "silent"),
        (HOURS, [Answer(pieces=speech(["One moment... "]))], "silent"),
        (HOURS, [Answer(pieces=(OPENING, chunk({"content": "Yes, until "})), whole=False)], "cut"),
        (HOURS, [Answer(pieces=(OPENING, chunk({"content": "Yes, until six."}), DONE))],
         "no_finish"),
        (HOURS, [Answer(pieces=(OPENING, 30.0)),
                 Answer(pieces=speech(["Yes, until six. ", "Yes, until six."]))], "says_once"),
        (HOURS, [Answer(pieces=(OPENING, 30.0)),
                 Answer(pieces=speech(["We are open until six. "] * 2))], "said_twice"),
        (HOURS, [Answer(pieces=speech(["Yes, we are open until six."] * 2))], "said_twice"),
        (HOURS, [Answer(pieces=(OPENING, 30.0)), Answer(pieces=YES)], "posts"),
        (HOURS, [_ends("")], "calls"),
        (HOURS, [refusal(503, "upstream_unavailable")], "model_down"),
        (HOURS, [Answer(pieces=speech([FAILURE_SENTENCE]))], "failure_sentence"),
        (GOODBYE, [_ends("", '{"message": "Take care."}')], "unusable_call"),
    ],
)  # fmt: skip
def test_each_planted_fault_is_caught_by_its_name(
    tmp_path: Path, text: str, answers: Sequence[Answer], name: str
) -> None:
    """A server with one fault fails the call, and the failure names the fault."""
    played = _play(tmp_path, text, *answers)
    assert played.result == "failed"
    assert name in [failure.name for failure in played.failures]


def test_a_refused_key_is_no_call_at_all(tmp_path: Path) -> None:
    """A call that could not be played says why, with a remedy."""
    played = _play(tmp_path, HOURS, Answer(pieces=YES), key="another-key")
    assert played.result == "unplayable"
    assert played.unplayable.startswith("caller_key: 401 invalid_api_key")


def test_a_healthy_server_passes_twenty_times(tmp_path: Path) -> None:
    """A healthy call with words, a buffer word and a farewell never fails."""
    bridged = Answer(pieces=speech(["One moment... ", "Yes, until six."]))
    for _ in range(10):
        assert _play(tmp_path, HOURS, bridged).failures == []
        assert _play(tmp_path, GOODBYE, _ends("Thank you. ")).failures == []


def test_a_missing_interruption_is_a_failure(tmp_path: Path) -> None:
    """A call fails if the words to interrupt were never said."""
    text = "call: x\nturns:\n  - caller: Hours?\n  - {caller: Stop., over: on Mondays}\n"
    played = _play(tmp_path, text, Answer(pieces=YES))
    assert [failure.name for failure in played.failures] == ["over"]


def test_an_interruption_is_judged_by_what_was_heard(tmp_path: Path) -> None:
    """Words after the interruption do not count as said."""
    text = (
        "call: x\nturns:\n  - caller: Hours?\n"
        "    expect: {says: 'yes', never_says: until six, silent_within_ms: 1000}\n"
        "  - {caller: Stop., over: 'yes,'}\n"
    )
    slow = (OPENING, chunk({"content": "Yes, "}), 30.0, chunk({"content": "until six."}))
    assert _play(tmp_path, text, Answer(pieces=slow), Answer(pieces=YES)).failures == []


def test_a_call_that_ends_early_is_a_failure(tmp_path: Path) -> None:
    """Turns that were no longer played count as a failure of the turn that ended the call."""
    played = _play(tmp_path, GOODBYE + "  - caller: Wait!\n", _ends("Thank you. "))
    assert [(failure.name, failure.seen) for failure in played.failures] == [
        ("ends", "hung_up, with 1 turns to come")
    ]


@pytest.mark.parametrize(
    "body",
    [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hours?"}]},
                {"role": "assistant", "content": None},
                {"role": "tool", "content": "at nine"},
            ]
        },
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Hours?"}]},
                {"type": "function_call_output", "output": "at nine"},
            ],
        },
    ],
)
def test_what_the_model_saw_is_read_in_both_apis(body: dict[str, Any]) -> None:
    """Each role's words are found under that role, and missing words are reported."""
    right = {"system": "brief", "user": "hours", "tool": "nine", "never": "ten"}
    assert list(_history({"model_saw": right}, [body])) == []
    wrong = {"system": "hours", "assistant": "nine", "never": "at nine"}
    assert len(list(_history({"model_saw": wrong}, [body]))) == 3
