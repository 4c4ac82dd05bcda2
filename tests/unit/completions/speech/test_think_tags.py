"""Reasoning taken out of the text that is spoken, however the text is split."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from completions.dialects.deltas import Reasoning, Text
from completions.speech.think_tags import ThinkSplitter
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


def heard(splitter: ThinkSplitter, pieces: Iterable[str]) -> tuple[str, str]:
    """Speech and reasoning."""
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.flush()
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
    ],
)
def test_thoughts_are_not_spoken(text: str, speech: str, reasoning: str) -> None:
    """What stands between the tags is reasoning; everything else is speech."""
    assert heard(ThinkSplitter(), [text]) == (speech, reasoning)
    assert heard(ThinkSplitter(), list(text)) == (speech, reasoning)


@given(in_pieces(TAGGED))
@example(("<think>a</think>b", ["<thi", "nk>a<", "/think", ">b"]))
def test_pieces_are_split_like_the_whole_text(text_and_pieces: tuple[str, list[str]]) -> None:
    """However a text is cut, the same parts of it are speech and reasoning."""
    text, pieces = text_and_pieces
    assert heard(ThinkSplitter(), pieces) == heard(ThinkSplitter(), [text])


@given(in_pieces(TAGGED))
def test_no_character_is_lost_or_invented(text_and_pieces: tuple[str, list[str]]) -> None:
    """Speech and reasoning, in order, are the whole text without its tags."""
    text, pieces = text_and_pieces
    splitter = ThinkSplitter()
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.flush()
    tags = r"(?i)</?(think|thinking|reasoning)>"
    assert "".join(part.text for part in parts) == re.sub(tags, "", text)


@given(st.text(alphabet=st.characters(exclude_characters="<")))
def test_text_without_tags_passes_at_once(text: str) -> None:
    """Nothing is held back of a text that cannot become a tag."""
    assert ThinkSplitter().feed(text) == ([Text(text)] if text else [])


def test_only_what_may_become_a_tag_is_held() -> None:
    """Words before an unfinished tag are spoken while the rest of it is awaited."""
    splitter = ThinkSplitter()
    assert splitter.feed("Hello <th") == [Text("Hello ")]
    assert splitter.feed("e end") == [Text("<the end")]


def test_an_answer_that_begins_inside_a_thought_is_noticed() -> None:
    """Its first tag closes, whether the thought was expected or not."""
    splitter = ThinkSplitter()
    assert heard(splitter, ["Hm, let me see", ".</think>Hello."]) == ("Hm, let me see.Hello.", "")
    assert splitter.began_inside
    opened = ThinkSplitter(opened=True)
    assert heard(opened, ["Hm, let me see", ".</think>Hello."]) == ("Hello.", "Hm, let me see.")
    assert opened.began_inside


@pytest.mark.parametrize(
    "text", ["Hello.", "<think>Hm.</think>Hello.", "<think>Hm.</think>A tag, </think>, closes."]
)
def test_an_answer_whose_first_tag_opens_began_outside(text: str) -> None:
    """A closing tag counts only where no other tag came before it."""
    splitter = ThinkSplitter()
    heard(splitter, [text])
    assert not splitter.began_inside


def test_an_expected_thought_that_never_ends_was_none() -> None:
    """Its words are spoken at the end, so that a wrong guess silences nobody."""
    splitter = ThinkSplitter(opened=True)
    assert splitter.feed("We are ") == [Reasoning("We are ")]
    assert splitter.feed("open until <six") == [Reasoning("open until <six")]
    assert splitter.flush() == [Text("We are open until <six")]
    assert not splitter.began_inside
