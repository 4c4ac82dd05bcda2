"""What reasoning models want back when the platform did not keep it."""

from __future__ import annotations

from typing import Any

from completions.quirks.returned_thoughts import (
    PLACEHOLDER,
    with_reasoning,
    with_signatures,
    without_empty_thoughts,
)

Message = dict[str, Any]


def called(*ids: str, **extra: Any) -> Message:
    """Return an assistant's step whose first call has this `extra_content`."""
    calls: list[Message] = [{"id": one, "function": {"name": "t"}} for one in ids]
    if extra:
        calls[0]["extra_content"] = extra
    return {"role": "assistant", "content": "", "tool_calls": calls}


ASKED: Message = {"role": "user", "content": "Hi."}
RESULT: Message = {"role": "tool", "content": "ok"}


def placeholders(history: list[Message]) -> list[int]:
    """Return the indices of messages with a placeholder."""
    return [i for i, one in enumerate(with_signatures(history)) if PLACEHOLDER in str(one)]


def test_the_first_call_of_each_step_of_the_turn_is_signed() -> None:
    """The API checks neither earlier turns nor a step's other calls."""
    history = [ASKED, called("a"), RESULT, ASKED, called("b", "c"), RESULT, called("d"), RESULT]
    assert placeholders(history) == [4, 6]
    assert "extra_content" not in with_signatures(history)[4]["tool_calls"][1]
    assert with_signatures(history)[:4] == history[:4]


def test_a_signature_that_came_back_stays() -> None:
    """Google's and Vertex's fields both count, and other keys beside them stay."""
    for name in ("google", "vertex"):
        history = [ASKED, called("a", **{name: {"thought_signature": "Ab"}}), RESULT]
        assert with_signatures(history) == history
    (_, step) = with_signatures([ASKED, called("a", google={"thought": True}, other=1)])
    extra = {"google": {"thought": True, "thought_signature": PLACEHOLDER}, "other": 1}
    assert step["tool_calls"][0]["extra_content"] == extra


def test_malformed_calls_are_left_alone() -> None:
    """Nothing raises, whatever a caller sends."""
    odd = [{"role": "assistant", "tool_calls": calls} for calls in ([], ["x"], "x", None)]
    assert with_signatures(odd) == odd


def test_reasoning_that_was_kept_stays() -> None:
    """Only an assistant message without reasoning gets an empty one."""
    kept = {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm."}
    null = {"role": "assistant", "content": "Hi.", "reasoning_content": None}
    history = [ASKED, kept, called("a"), null, RESULT]
    told = [one.get("reasoning_content") for one in with_reasoning(history)]
    assert told == [None, "Hm.", "", "", None]


def test_only_empty_reasoning_is_left_out() -> None:
    """A summary, a text or encrypted content is still of use."""
    empty: Message = {"type": "reasoning", "id": "rs_1", "summary": []}
    kept: list[Message] = [
        {**empty, "summary": [{"type": "summary_text", "text": "Hm."}]},
        {**empty, "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {**empty, "encrypted_content": "x"},
        {"type": "message", "role": "user", "content": ""},
    ]
    assert without_empty_thoughts([empty, *kept, empty]) == kept
