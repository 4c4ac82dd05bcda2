"""The marks of many models: found whole in any spelling, and never in ordinary text."""

from __future__ import annotations

import pytest

from completions.speech.marks import MARK, Sense, may_hold_mark, meaning, unfinished_at

MARKS = {
    "<think>": Sense.THOUGHT,
    "</Thinking>": Sense.THOUGHT_END,
    "<seed:think>": Sense.THOUGHT,
    "</mm:think>": Sense.THOUGHT_END,
    "<longcat_think>": Sense.THOUGHT,
    "[/THINK]": Sense.THOUGHT_END,
    "◁think▷": Sense.THOUGHT,
    "<|channel>": Sense.THOUGHT,
    "<channel|>": Sense.THOUGHT_END,
    "<|END_THINKING|>": Sense.THOUGHT_END,
    "<tool_call>": Sense.CALL,
    "</tool_call>": Sense.CALL_END,
    "<function=": Sense.CALL,
    "<｜DSML｜invoke name=": Sense.CALL,
    "</｜DSML｜invoke>": Sense.CALL_END,
    "[TOOL_CALLS]": Sense.CALL,
    "<|python_tag|>": Sense.CALL,
    "<|tool_call_begin|>": Sense.CALL,
    "<｜tool▁call▁begin｜>": Sense.CALL,
    "<｜tool call begin｜>": Sense.CALL,
    "<｜tool\\_call\\_end｜>": Sense.CALL_END,
    "<|im_start|>": Sense.HEADER,
    "<start_of_turn>": Sense.HEADER,
    "<|user|>": Sense.OTHERS,
    "<|im_end|>": Sense.END,
    "<｜end▁of▁sentence｜>": Sense.END,
    "</s>": Sense.END,
    "<|a token of nobody's|>".replace(" ", "_"): Sense.NOTHING,
    "[INST]": Sense.NOTHING,
}


@pytest.mark.parametrize("mark", MARKS)
def test_each_mark_has_its_meaning(mark: str) -> None:
    """In any spelling it is found as one mark, from its first character to its last."""
    assert [found[0] for found in MARK.finditer(f"a{mark}b")] == [mark]
    assert meaning(mark).sense is MARKS[mark]


@pytest.mark.parametrize("mark", [*MARKS, "```tool_code"])
def test_the_beginning_of_a_mark_is_recognised(mark: str) -> None:
    """Cut anywhere, it waits for the rest."""
    assert may_hold_mark(mark)
    for end in range(1, len(mark)):
        assert unfinished_at("so " + mark[:end]) == len("so ")


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "I <3 you",
        "press [1] or <2>",
        "<b>bold</b>",
        "[laughs] Hello",
        "[think] Hello",
        "`code` is",
        "```python\nx = [1]\n```\n",
        "a <| b |> c",
        "x << 2 | 3 >> y",
        "{name} and <name>",
        "<|>",
    ],
)
def test_ordinary_signs_are_no_marks(text: str) -> None:
    """Comparisons, lists, markup, stage directions and code stay as they are."""
    found = [one for one in MARK.finditer(text) if meaning(one[0]).sense is not Sense.FENCE]
    assert not found
    assert unfinished_at(text) == len(text)
