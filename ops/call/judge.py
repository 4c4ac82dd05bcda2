"""Judge a turn: find expectations that it missed, and faults that no turn may have.

Each failure has a name, which tests, tables and JUnit show: an expectation's own, a doctor's cause,
or one that only a whole turn shows (`words_glued`, `said_twice`, `unusable_call`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.call.call import Call
from ops.call.call_file import Step
from ops.call.schema import texts
from ops.call.speech import letters, pattern
from ops.call.turn import Turn
from ops.doctor.causes import CAUSES

BUFFER_WORDS_MOST = 2
"""Documentation of buffer words: rarely twice and never three times a turn."""
_GLUED = re.compile(r"\w\.\.\.(?=\w)|[a-zäöüß]{2}[.!?](?=[A-ZÄÖÜ][a-zäöüß]+)")
_BETWEEN = re.compile(r"(?<=[.!?])(?:\s+|(?=[A-ZÄÖÜ][a-zäöüß]))")
"""Between two sentences, with or without a blank: an answer that comes twice has none there."""
_LONG = 12
"""A sentence with at least so many letters is never said twice on purpose."""
_APOLOGIES = {"failure_sentence", "cut_answer"}
_NO_WAY = {"bad_request", "path_unknown"}
"""What prevents playing a call, besides the doctor's dead ends."""
_MODELS = {"timeout"}
"""Dead ends of a doctor's run that count as the turn's own failure."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The name of what is wrong, and what was seen."""

    name: str
    seen: str


def judge(
    turn: Turn, step: Step, call: Call, saw: Sequence[Mapping[str, Any]] = ()
) -> list[Failure]:
    """Return what is wrong with a turn that was just played; `saw` is what the model got."""
    expect = step.expect
    return [
        *_never(turn, expect),
        *_times(turn, expect),
        *_words(turn, expect),
        *_calls(turn, expect),
        *_history(expect, saw),
        *_end(turn, expect, call),
    ]


def unplayable(turn: Turn) -> str:
    """Return why a call could not be played at all; empty if it could."""
    if turn.number > 1 or turn.speech.text:
        return ""
    for trouble in turn.troubles:
        cause = CAUSES.get(trouble.cause)
        dead_end = cause is not None and cause.dead_end and trouble.cause not in _MODELS
        if cause is not None and (dead_end or trouble.cause in _NO_WAY):
            return f"{trouble.cause}: {trouble.detail.rstrip('.')}. {cause.why} {cause.remedy}"
    return ""


def _never(turn: Turn, expect: Mapping[str, Any]) -> Iterator[Failure]:
    excused = set(_APOLOGIES) if expect.get("apologises") else set()
    if expect.get("silent") or turn.interrupted_at_ms is not None:
        excused.add("silent")
    if expect.get("ends") == "failed":
        return
    for trouble in turn.troubles:
        cause = CAUSES.get(trouble.cause)
        if trouble.cause not in excused and not (cause and cause.warning and not excused):
            yield Failure(trouble.cause, trouble.detail)
    text = turn.speech.text
    if glued := _GLUED.search(text):
        yield Failure("words_glued", text[max(0, glued.start() - 15) : glued.end() + 15])
    if twice := _said_twice(text):
        yield Failure("said_twice", twice)
    if turn.buffer_words > expect.get("buffer_words", BUFFER_WORDS_MOST):
        most = expect.get("buffer_words", BUFFER_WORDS_MOST)
        yield Failure("buffer_words", f"{turn.buffer_words}, at most {most}: {text[:80]}")
    posts, most = len(turn.posts), expect.get("posts", 1)
    if posts > most:
        yield Failure("posts", f"asked {posts} times, at most {most}")


def _times(turn: Turn, expect: Mapping[str, Any]) -> Iterator[Failure]:
    for name, at_ms in (
        ("first_sound_within_ms", turn.first_sound_ms),
        ("answer_within_ms", turn.answer_ms),
    ):
        if name in expect and (at_ms is None or at_ms > expect[name]):
            seen = "nothing came" if at_ms is None else f"after {at_ms:.0f} ms"
            yield Failure(name, f"{seen}, wanted within {expect[name]} ms")
    if (most := expect.get("silent_within_ms")) is not None:
        left_ms = turn.interrupted_at_ms
        took_ms = None if left_ms is None else turn.posts[-1].ended_at_ms - left_ms
        if took_ms is None or took_ms > most:
            seen = "not interrupted" if took_ms is None else f"{took_ms:.0f} ms"
            yield Failure("silent_within_ms", f"{seen}, wanted within {most} ms")


def _words(turn: Turn, expect: Mapping[str, Any]) -> Iterator[Failure]:
    text = f"{turn.heard_text} {turn.platform_says}"
    for wanted in texts(expect.get("says", ())):
        if not pattern(wanted).search(text):
            yield Failure("says", f"{wanted!r} is not in {text.strip()!r}")
    for wanted in texts(expect.get("says_once", ())):
        if (count := len(pattern(wanted).findall(text))) != 1:
            yield Failure("says_once", f"{wanted!r} is {count} times in {text.strip()!r}")
    for unwanted in texts(expect.get("never_says", ())):
        if found := pattern(unwanted).search(text):
            yield Failure("never_says", f"{found[0]!r} is in {text.strip()!r}")
    if expect.get("silent") and letters(text):
        yield Failure("silent", f"it spoke: {text.strip()!r}")


def _calls(turn: Turn, expect: Mapping[str, Any]) -> Iterator[Failure]:
    if "calls" not in expect:
        return
    called = [(call.name, _decoded(call.arguments)) for call in turn.calls]
    seen = ", ".join(f"{name}({json.dumps(args)})" for name, args in called) or "no call"
    wanted = [({each: {}} if isinstance(each, str) else each) for each in expect["calls"]]
    for each in wanted:
        ((name, arguments),) = each.items()
        if not any(name == other and _within(arguments, args) for other, args in called):
            yield Failure("calls", f"{name}({json.dumps(arguments)}) was expected, there is {seen}")
    if len(called) > len(wanted):
        yield Failure("calls", f"{len(wanted)} expected, there is {seen}")


def _history(expect: Mapping[str, Any], saw: Sequence[Mapping[str, Any]]) -> Iterator[Failure]:
    wanted = expect.get("model_saw")
    if not wanted:
        return
    seen = [each for body in saw[-1:] for each in _seen(body)]
    for role, value in wanted.items():
        said = "\n".join(text for speaker, text in seen if role in {"never", speaker})
        for text in texts(value):
            if (pattern(text).search(said) is None) != (role == "never"):
                is_there = "was seen" if role == "never" else f"is not among {role}'s words"
                yield Failure("model_saw", f"{text!r} {is_there}: {said[-200:]!r}")


def _end(turn: Turn, expect: Mapping[str, Any], call: Call) -> Iterator[Failure]:
    ended, wanted = turn.ended or "goes_on", expect.get("ends", "")
    if wanted and ended != wanted:
        yield Failure("ends", f"{ended}, wanted {wanted}")
    elif ended == "failed" and not wanted and not turn.troubles:
        yield Failure("ends", "the call was dropped")
    if "language" in expect and call.language != expect["language"]:
        yield Failure("language", f"{call.language}, wanted {expect['language']}")
    if not _within(expect.get("state", {}), call.state):
        yield Failure("state", f"{call.state}, wanted {expect['state']}")


def _said_twice(text: str) -> str:
    """Return a sentence that occurs twice; empty if none does."""
    heard: set[str] = set()
    for sentence in _BETWEEN.split(text):
        key = letters(sentence)
        if len(key) >= _LONG and key in heard:
            return sentence
        heard.add(key)
    return ""


def _within(wanted: Any, given: Any) -> bool:
    """Return True if everything wanted is there; a text may be a pattern."""
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(
            name in given and _within(value, given[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, str) and isinstance(given, str) and wanted.startswith("/"):
        return pattern(wanted).search(given) is not None
    return wanted is None or (type(wanted) is type(given) and wanted == given)


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _seen(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield role and text of everything in a request to a model, in either API."""
    if instructions := body.get("instructions"):
        yield "system", str(instructions)
    messages = body.get("input", body.get("messages", ()))
    for each in [{"role": "user", "content": messages}] if isinstance(messages, str) else messages:
        if each.get("type") == "function_call_output":
            yield "tool", _text(each.get("output"))
        else:
            yield str(each.get("role")), _text(each.get("content"))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
