"""Speech in pieces: thoughts taken out, sentences measured, whatever the split."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from completions.dialects.deltas import Reasoning, Text
from completions.speech.sentences import Sentence, has_words, joined
from completions.speech.think_tags import ThinkSplitter

PIECES = st.lists(
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


@st.composite
def cut(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> tuple[str, list[str]]:
    """A text and the same text in pieces."""
    text = draw(texts)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [
        text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)
    ]


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
    """What stands between the tags is reasoning, everything else is speech."""
    assert heard(ThinkSplitter(), [text]) == (speech, reasoning)
    assert heard(ThinkSplitter(), list(text)) == (speech, reasoning)


@given(cut(PIECES))
@example(("<think>a</think>b", ["<thi", "nk>a<", "/think", ">b"]))
def test_a_split_changes_nothing(text_and_pieces: tuple[str, list[str]]) -> None:
    """However a text is cut, the same of it is speech and the same is reasoning."""
    text, pieces = text_and_pieces
    assert heard(ThinkSplitter(), pieces) == heard(ThinkSplitter(), [text])


@given(cut(PIECES))
def test_no_character_is_lost_or_invented(text_and_pieces: tuple[str, list[str]]) -> None:
    """Speech and reasoning in their order are the whole text without its tags."""
    text, pieces = text_and_pieces
    splitter = ThinkSplitter()
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.flush()
    tags = r"(?i)</?(think|thinking|reasoning)>"
    assert "".join(part.text for part in parts) == re.sub(tags, "", text)


@given(st.text(alphabet=st.characters(exclude_characters="<")))
def test_text_without_tags_passes_at_once(text: str) -> None:
    """Nothing is held of a text that cannot become a tag."""
    assert ThinkSplitter().feed(text) == ([Text(text)] if text else [])


def test_only_what_may_become_a_tag_is_held() -> None:
    """Words before an unfinished tag are spoken while it is waited for."""
    splitter = ThinkSplitter()
    assert splitter.feed("Hello <th") == [Text("Hello ")]
    assert splitter.feed("e end") == [Text("<the end")]


def test_a_lone_closing_tag_is_noticed() -> None:
    """A model whose template opens the block is known by its first answer."""
    splitter = ThinkSplitter()
    assert heard(splitter, ["Hm, let me see", ".</think>Hello."]) == ("Hm, let me see.Hello.", "")
    assert splitter.lone_close
    opened = ThinkSplitter(opened=True)
    assert heard(opened, ["Hm, let me see", ".</think>Hello."]) == ("Hello.", "Hm, let me see.")
    assert not opened.lone_close


@pytest.mark.parametrize("text", ["a", "... 5", "你", "é", "क", " ok "])
def test_letters_and_digits_are_words(text: str) -> None:
    """A letter or a digit of any script can be heard."""
    assert has_words(text)


@pytest.mark.parametrize("text", ["", " ", "... ", "?!", "—", "\n\n", "🙂"])
def test_punctuation_is_no_word(text: str) -> None:
    """Nothing else can."""
    assert not has_words(text)


def ended(pieces: Iterable[str]) -> bool:
    """Has the first sentence ended?"""
    sentence = Sentence()
    for piece in pieces:
        sentence.feed(piece)
    return sentence.ended


@pytest.mark.parametrize(
    "text",
    [
        "Hello.",
        "Hello. And",
        "Really?! Yes",
        "Well… yes",
        "他说好。然后",
        "はい！",
        "Ja. ",
        "No.",
        'He said "no." Then',
        "(Fine.) Then",
        "It costs 3. Then",
        "ठीक है। फिर",
        "We pay 3.50 now.",
    ],
)
def test_a_sentence_has_ended(text: str) -> None:
    """A full stop, a question or exclamation mark, or an ellipsis behind words ends a sentence."""
    assert ended([text])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        ". ",
        "Hello",
        "Hello, and",
        "Dr. Smith",
        "It costs 3.",
        "It costs 3.5",
        "z. B. hier",
        "Mr. J. Smith",
        "see example.com now",
        "?! ",
        "e.g. this",
    ],
)
def test_a_sentence_has_not_ended(text: str) -> None:
    """Abbreviations, initials, numbers and names with dots go on; without words nothing ends."""
    assert not ended([text])


@given(cut(st.text(alphabet='abcDr12 .!?…。"\n)', max_size=40)))
@example(("Dr. Who. ", ["Dr", ". Who.", " "]))
@example(("D . ", ["D ", ". "]))
def test_a_sentence_ends_alike_in_any_pieces(text_and_pieces: tuple[str, list[str]]) -> None:
    """However the text is cut, its first sentence has ended or has not."""
    text, pieces = text_and_pieces
    assert ended(pieces) == ended([text])


def test_an_ended_sentence_stays_ended() -> None:
    """What comes later does not matter."""
    assert ended(["Hello. ", "And then"])


@pytest.mark.parametrize(
    ("before", "whole"),
    [
        ("", "Sorry."),
        ("Hello.", "Hello. Sorry."),
        ("Hello. ", "Hello. Sorry."),
        ("Well,", "Well, Sorry."),
        ("I am going to transf", "I am going to transf... Sorry."),
        ("I am going ", "I am going ... Sorry."),
        ("One moment... ", "One moment... Sorry."),
        ('He said "no."', 'He said "no." Sorry.'),
        ("はい。", "はい。 Sorry."),
        (" ", " Sorry."),
    ],
)
def test_words_of_ours_are_not_glued(before: str, whole: str) -> None:
    """A space stands before them, after an unfinished sentence three dots as well."""
    assert before + joined(before, "Sorry.") == whole
