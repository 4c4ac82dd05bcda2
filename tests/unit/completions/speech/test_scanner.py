"""A text separated into speech, thoughts and calls, however it is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from completions.dialects.deltas import Reasoning, Text
from completions.speech.scanner import CALL_LIMIT_CHARS, HEADER_LIMIT_CHARS, Scanner, without_marks
from completions.speech.text_parts import CallText, Part
from tests.support.pieces import in_pieces

TAGGED = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<thinking>",
            "</thinking>",
            "<reasoning>",
            "</reasoning>",
            "<",
            ">",
            "</",
            "<thin",
            "think>",
            "a",
            "Hello, ",
            "x < y",
            "\n",
            "é",
            "<THINK>",
            "<b>",
        ]
    ),
    max_size=12,
).map("".join)


OTHERS = [
    *("Hello, ", "a < b", "<", ">", "[1]", "`", "```", "\n", "{}", "think>"),
    *("assistant", "final", "user", "analysis", "to=functions.f "),
    *("<tool_call>", "</tool_call>", "<function=", "</function>", "[TOOL_CALLS]", "</s>"),
    *("[THINK]", "[/THINK]", "◁think▷", "◁/think▷", "<think>", "</think>"),
    *("<|channel>", "<channel|>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>"),
    *("<|im_start|>", "<|im_end|>", "<|user|>", "<|python_tag|>", "```tool_code"),
    *("<|tool_call_begin|>", "<｜tool▁call▁end｜>", "<｜DSML｜invoke name="),
]
MARKED = st.lists(st.sampled_from(OTHERS), max_size=10).map("".join)


def parts_of(scanner: Scanner, pieces: Iterable[str]) -> list[Part]:
    """Return all parts of these pieces."""
    return [part for piece in pieces for part in scanner.feed(piece)] + scanner.flush()


def heard(scanner: Scanner, pieces: Iterable[str]) -> tuple[str, str]:
    """Return speech and reasoning."""
    parts = parts_of(scanner, pieces)
    assert all(part.text for part in parts)
    return (
        "".join(part.text for part in parts if isinstance(part, Text)),
        "".join(part.text for part in parts if isinstance(part, Reasoning)),
    )


@pytest.mark.parametrize(
    ("text", "speech", "reasoning"),
    [
        ("Hello.", "Hello.", ""),
        ("<think>Hm.</think>Hello.", "Hello.", "Hm."),
        ("<THINKING>Hm.</Thinking>Hello.", "Hello.", "Hm."),
        ("<reasoning>Hm.</reasoning>Hello.", "Hello.", "Hm."),
        ("One <think>two</think> three.", "One  three.", "two"),
        ("<think>a</think>b<think>c</think>d", "bd", "ac"),
        ("<think>for ever", "", "for ever"),
        ("<think>a</thinking>b", "b", "a"),
        ("<think></think>b", "b", ""),
        ("2 < 3 and <b>bold</b>", "2 < 3 and <b>bold</b>", ""),
        ("an end <thin", "an end <thin", ""),
        ("<think>an end </thin", "", "an end </thin"),
        ("<<think>a</think>", "<", "a"),
        ("<thought>a</thought>b", "b", "a"),
        ("[THINK]a[/THINK]b", "b", "a"),
        ("◁think▷a◁/think▷b", "b", "a"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b", "a"),
        ("<|channel>thought\na<channel|>b", "b", "thought\na"),
        ("b<|im_end|>", "b", ""),
        ("<s>b</s>", "b", ""),
        ("b<end_of_turn>", "b", ""),
        ("<｜begin▁of▁sentence｜>b", "b", ""),
        ("<|begin_of_box|>b<|end_of_box|>", "b", ""),
        ("<answer>b</answer>", "b", ""),
        ("[INST]b[/INST]", "b", ""),
        ("Say {name}, press [1] or <2>, `x`.", "Say {name}, press [1] or <2>, `x`.", ""),
        ("```python\nx\n```", "```python\nx\n```", ""),
    ],
)
def test_thoughts_are_not_spoken(text: str, speech: str, reasoning: str) -> None:
    """Text between the tags is reasoning; everything else is speech."""
    assert heard(Scanner(), [text]) == (speech, reasoning)
    assert heard(Scanner(), list(text)) == (speech, reasoning)


@pytest.mark.parametrize("options", [{}, {"calls": True}, {"calls": True, "guess_chars": 20}])
@given(text_and_pieces=in_pieces(TAGGED | MARKED))
@example(text_and_pieces=("<think>a</think>b", ["<thi", "nk>a<", "/think", ">b"]))
def test_pieces_are_split_like_the_whole_text(
    options: dict[str, Any], text_and_pieces: tuple[str, list[str]]
) -> None:
    """Speech and calls are the same, however the text is cut."""
    text, pieces = text_and_pieces
    one, other = (parts_of(Scanner(**options), cut) for cut in ([text], pieces))
    for kind in (Text, CallText):
        both = [[part for part in parts if isinstance(part, kind)] for parts in (one, other)]
        assert "".join(part.text for part in both[0]) == "".join(part.text for part in both[1])


@given(in_pieces(TAGGED))
def test_no_character_is_lost_or_invented(text_and_pieces: tuple[str, list[str]]) -> None:
    """Speech and reasoning, in order, are the whole text without its tags."""
    text, pieces = text_and_pieces
    scanner = Scanner()
    parts = [part for piece in pieces for part in scanner.feed(piece)] + scanner.flush()
    tags = r"(?i)</?(think|thinking|reasoning)>"
    assert "".join(part.text for part in parts) == re.sub(tags, "", text)


@given(st.text(alphabet=st.characters(exclude_characters="<[`◁")))
def test_text_without_tags_passes_at_once(text: str) -> None:
    """Text that cannot become a tag is not held back."""
    assert Scanner().feed(text) == ([Text(text)] if text else [])


def test_only_a_possible_tag_is_held_back() -> None:
    """Words before an unfinished tag are spoken while its rest is awaited."""
    scanner = Scanner()
    assert scanner.feed("Hello <th") == [Text("Hello ")]
    assert scanner.feed("e end") == [Text("<the end")]


def test_an_answer_that_begins_inside_a_thought_is_noticed() -> None:
    """Its first tag closes a thought, whether one was expected or not."""
    scanner = Scanner()
    assert heard(scanner, ["Hm, let me see", ".</think>Hello."]) == ("Hm, let me see.Hello.", "")
    assert scanner.began_inside
    guessing = Scanner(guess_chars=100)
    assert heard(guessing, ["Hm, let me see", ".</think>Hello."]) == ("Hello.", "Hm, let me see.")
    assert guessing.began_inside


@pytest.mark.parametrize(
    "text", ["Hello.", "<think>Hm.</think>Hello.", "<think>Hm.</think>A tag, </think>, closes."]
)
def test_an_answer_whose_first_tag_opens_begins_outside(text: str) -> None:
    """A closing tag counts only if no other tag came before it."""
    scanner = Scanner()
    heard(scanner, [text])
    assert not scanner.began_inside


def test_thoughts_in_their_own_field_need_no_opening_tag() -> None:
    """A closing tag that a server's parser left behind does not count."""
    scanner = Scanner()
    scanner.saw_reasoning()
    assert heard(scanner, ["</think>Hello."]) == ("Hello.", "")
    assert not scanner.began_inside


def test_an_expected_thought_that_never_ends_is_spoken() -> None:
    """It is spoken at the end, so a wrong guess loses no words."""
    scanner = Scanner(guess_chars=100)
    assert scanner.feed("We are ") == [Reasoning("We are ")]
    assert scanner.feed("open until <six") == [Reasoning("open until <six")]
    assert scanner.flush() == [Text("We are open until <six")]
    assert not scanner.began_inside


def test_a_guess_has_a_limit() -> None:
    """Text longer than an expected thought is spoken at once, and so is the rest."""
    scanner = Scanner(guess_chars=10)
    assert scanner.feed("We are ") == [Reasoning("We are ")]
    assert scanner.guessing
    assert scanner.feed("open until six.") == [Text("We are open until six.")]
    assert scanner.feed(" Come.") == [Text(" Come.")]
    assert not scanner.guessing


def test_marks_keep_their_meaning_after_a_wrong_guess() -> None:
    """Calls are still calls, and the answer's own thoughts are not spoken."""
    text = "<think>Hm.</think>One moment.<tool_call>x</tool_call>"
    scanner = Scanner(calls=True, guess_chars=100)
    assert heard(scanner, [text]) == ("One moment.", "<think>Hm.")
    parts = parts_of(Scanner(calls=True, guess_chars=100), ["One moment.<tool_call>x</tool_call>"])
    assert parts[-2:] == [Text("One moment."), CallText("x")]


# -- channels and roles


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b",
            "b",
        ),
        ("<|channel|>analysis<|message|>a<|channel|>final<|message|>b<|return|>", "b"),
        ("<|channel|>commentary<|message|>One moment.<|end|>", "One moment."),
        ("<|start|>assistant<|channel|>final <|constrain|>json<|message|>b", "b"),
        ("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>", ""),
        ("<|im_start|>assistant\nb<|im_end|>", "b"),
        ("<|im_start|>assistant<|im_sep|>b<|im_end|>", "b"),
        ("<|im_start|>assistant b<|im_end|>", "b"),
        ("<|start_header_id|>assistant<|end_header_id|>b<|eot_id|>", "b"),
        ("<start_of_turn>model\nb<end_of_turn>", "b"),
        ("b<|im_end|>\n<|im_start|>user\na<|im_end|>", "b\n"),
        ("b<|im_end|><|im_start|>user\na<|im_end|><|im_start|>assistant\nc", "b"),
        ("b<|user|>a<|assistant|>c<tool_call>d</tool_call>", "b"),
        ("\n<|im_start|>user\na<|im_end|><|im_start|>assistant\nc", "\nc"),
        ("b<|start|>assistant", "b"),
        ("The sign <|start|> begins it.", "The sign  begins it."),
    ],
)
def test_only_what_is_meant_for_the_caller_is_heard(text: str, speech: str) -> None:
    """Analysis, calls and other roles' turns are not spoken."""
    assert heard(Scanner(), [text])[0] == speech
    assert heard(Scanner(), list(text))[0] == speech


def test_text_too_long_for_a_header_is_speech() -> None:
    """Words after such a mark are held back for the length of a header at most."""
    scanner = Scanner()
    words = "on and " * HEADER_LIMIT_CHARS
    assert scanner.feed("<|start|>" + words) == [Text(words)]


# -- calls


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("<tool_call>x</tool_call>", ["x"]),
        ("<tool_call>x</tool_call>\n<tool_call>y</tool_call>", ["x", "y"]),
        ("<tool_call>x<tool_call>y", ["x", "y"]),
        ("<TOOL_CALL>x</TOOL_CALL>", ["x"]),
        ("<tool_call>x <b>y</b></tool_call>", ["x <b>y</b>"]),
        ("<tool_call><function=f>x</function></tool_call>", ["<function=f>x</function>"]),
        ("<function=f>x</function>", ["<function=f>x</function>"]),
        ("[TOOL_CALLS]x[TOOL_CALLS]y</s>", ["x", "y"]),
        ("<|python_tag|>x<|eom_id|>", ["x"]),
        ("```tool_code\nx\n```", ["\nx\n"]),
        ("<|tool_calls_section_begin|><|tool_call_begin|>x<|tool_call_end|>", ["x"]),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x<｜tool▁call▁end｜>", ["x"]),
        ("<|tool_call>x<tool_call|>", ["x"]),
        ("<|channel|>commentary to=functions.f<|message|>x<|call|>", ["functions.f\nx"]),
        ("<|start|>assistant to=functions.f<|channel|>commentary<|message|>x", ["functions.f\nx"]),
    ],
)
def test_text_between_the_marks_of_a_call_is_a_call(text: str, calls: list[str]) -> None:
    """It is complete at its end or at the next one's beginning, and is never spoken."""
    for pieces in ([text], list(text)):
        parts = parts_of(Scanner(calls=True), pieces)
        assert [part.text for part in parts if isinstance(part, CallText)] == calls
        assert not [part for part in parts if isinstance(part, Text) and part.text.strip()]


def test_words_before_and_after_a_call_are_heard() -> None:
    """Those before it are heard before it ends."""
    scanner = Scanner(calls=True)
    assert scanner.feed("One moment. <tool_call>x") == [Text("One moment. ")]
    assert scanner.feed("</tool_call> Done.") == [CallText("x"), Text(" Done.")]


def test_without_tools_only_the_marks_are_removed() -> None:
    """The words between them are spoken as they come."""
    scanner = Scanner()
    assert scanner.feed("<tool_call>x") == [Text("x")]
    assert scanner.feed("y</tool_call>") == [Text("y")]
    assert scanner.feed("```tool_code\nz") == [Text("\nz")]
    assert scanner.feed("\n``` and") == [Text("\n and")]
    assert without_marks("a<tool_call>b</tool_call>c") == "abc"


def test_a_call_is_held_back_up_to_a_limit() -> None:
    """A longer one counts as cut off, and what follows it is not spoken."""
    scanner = Scanner(calls=True)
    assert scanner.feed("<tool_call>" + "x" * CALL_LIMIT_CHARS) == []
    assert scanner.feed("x") == [CallText("x" * (CALL_LIMIT_CHARS + 1), whole=False)]
    assert scanner.feed("x</tool_call>") == [Reasoning("x</tool_call>")]


def test_thoughts_hold_no_calls() -> None:
    """A model only considers a call inside a thought."""
    text = "<think><tool_call>x</tool_call></think>b"
    assert heard(Scanner(calls=True), [text]) == ("b", "<tool_call>x</tool_call>")
