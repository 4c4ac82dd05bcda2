"""Log lines in plain words: what the terminal shows, and what stays in the file."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from local.log_lines import LogLines, turn
from local.upstream_advice import Upstream


def _messages(text: str) -> list[Any]:
    return [{"role": "r", "parts": [{"type": "text", "content": text}]}]


def _turn(
    outcome: str = "ok", heard: str = "", fields: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    said = {"gen_ai.output.messages": _messages(heard)} if heard else {}
    event = {"message": "turn.finished", "level": "INFO", "outcome": outcome}
    return {**event, **said, **more, **(fields or {})}


def _lines() -> LogLines:
    return LogLines(Upstream("http://a"), "my-key")


def test_a_turn_line_has_words_heard_words_and_time() -> None:
    """A turn is one line, even if its texts have several."""
    event = _turn(
        heard="Yes,\n we are.",
        buffer_words=1,
        first_spoken_ms=1500.4,
        first_token_ms=4012.0,
        duration_ms=4950.0,
        fields={"gen_ai.input.messages": _messages("Are you open?")},
    )
    assert turn(event) == (
        'said "Are you open?" | heard "Yes, we are." | '
        "buffer words at 1.5 s, first word at 4.0 s, end at 5.0 s"
    )


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (_turn("apology"), "heard our apology"),
        (_turn("empty"), "heard nothing, since the model said nothing"),
        (_turn("hung_up"), "heard nothing, since the caller left first"),
        (_turn("hung_up", "Yes"), 'heard "Yes", then the caller left'),
        (_turn("cut", "Yes"), 'heard "Yes", then it broke off'),
        (_turn("error", fields={"http.response.status_code": 502}), "heard an error, status 502"),
        (_turn(tools_called=["end_call"]), "heard no words | called end_call"),
        (_turn("apology", fields={"error.type": "upstream_auth"}), "why: upstream_auth"),
        (_turn(duration_ms=7.0), "end at 7 ms"),
    ],
)
def test_each_end_is_described(event: dict[str, Any], told: str) -> None:
    """Each end is described in words, not by the name of its outcome."""
    assert told in turn(event)


def test_several_requests_are_listed_with_their_outcomes() -> None:
    """Requests are listed only if there were several."""
    lives = [
        {"candidate": "upstream", "why": "lost"},
        {"candidate": "fallback", "why": "answered"},
    ]
    assert "asked" not in turn(_turn(candidates=lives[1:]))
    assert "asked upstream (lost), fallback (answered)" in turn(_turn(candidates=lives))


def test_long_texts_are_cut() -> None:
    """Long texts are cut, and the file has the whole."""
    assert len(turn(_turn(heard="word " * 500))) < 400


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            {"message": "upstream.misconfigured", "candidate": "upstream", "cause": "address"},
            "UPSTREAM=http://a/v1",
        ),
        (
            {"message": "upstream.misconfigured", "cause": "model", "model": "gpt-9"},
            "has no model gpt-9",
        ),
        ({"message": "auth.refused", "reason": "wrong key"}, "wrong key; the caller key is my-key"),
        ({"message": "path.unknown", "path": "/v2"}, "/v2"),
        ({"message": "odd", "level": "ERROR", "exception": "a\nb\nX: why"}, "odd: X: why"),
    ],
)
def test_what_the_owner_can_fix_is_shown(event: dict[str, Any], told: str) -> None:
    """A problem that the owner can fix is shown in this command line's words, once a turn."""
    lines, line = _lines(), json.dumps(event)
    assert told in str(lines.translate(line))
    assert lines.translate(line) is None
    lines.translate(json.dumps(_turn()))
    assert told in str(lines.translate(line))


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"message": "found three", "level": "INFO"}, "shop: found three"),
        ({"message": "lost", "level": "ERROR", "exception": "a\nKeyError: 1"}, "lost: KeyError: 1"),
    ],
)
def test_what_an_agent_logs_is_shown(event: dict[str, Any], told: str) -> None:
    """An agent's log lines are shown at any level."""
    line = json.dumps({**event, "logger": "completions.agents.shop"})
    assert told in str(_lines().translate(line))


def test_what_an_agent_raises_is_shown_with_its_place() -> None:
    """An agent's exception is shown with class, message and line."""
    event = {
        "message": "candidate.crashed",
        "level": "ERROR",
        "candidate": "responder",
        "place": "agents/shop.py:17",
        "exception": "Traceback:\n  File\nKeyError: 'stock'",
    }
    told = str(_lines().translate(json.dumps(event)))
    assert told.endswith("your agent raised KeyError: 'stock' (agents/shop.py:17)")


def test_a_request_without_a_model_is_mentioned_once() -> None:
    """A request that names no model is mentioned once."""
    lines, line = _lines(), json.dumps({"message": "model.missing"})
    assert "UpstreamModel" in str(lines.translate(line))
    lines.translate(json.dumps(_turn()))
    assert lines.translate(line) is None


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"_aws": {}, "Turns": [1.0]}),
        json.dumps({"message": "turn.failed", "level": "WARNING", "reason": "x"}),
        json.dumps({"message": "key.read", "level": "INFO"}),
        "   ",
    ],
    ids=["metrics", "told by the turn", "of no use", "blank"],
)
def test_other_lines_are_not_shown(line: str) -> None:
    """All other lines are not shown."""
    assert _lines().translate(line) is None


def test_a_print_is_shown() -> None:
    """A line that is not JSON is shown."""
    assert _lines().translate("here\x1b[31m I am\n") == "here [31m I am"
