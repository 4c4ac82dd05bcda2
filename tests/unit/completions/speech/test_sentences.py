"""The end of a first sentence, and the pause between two spoken texts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from completions.speech.sentences import FirstSentence, has_words, spoken_after
from tests.support.pieces import in_pieces


@pytest.mark.parametrize("text", ["a", "... 5", "你", "é", "क", " ok "])
def test_letters_and_digits_are_words(text: str) -> None:
    """A letter or a digit of any script can be heard."""
    assert has_words(text)


@pytest.mark.parametrize("text", ["", " ", "... ", "?!", "—", "\n\n", "🙂"])
def test_punctuation_is_not_a_word(text: str) -> None:
    """Punctuation, spaces and emoji cannot be heard."""
    assert not has_words(text)


def ended(pieces: Iterable[str]) -> bool:
    """Return whether the first sentence has ended."""
    sentence = FirstSentence()
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
    """A full stop, a question or exclamation mark, or an ellipsis after words ends a sentence."""
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
    """A dot in an abbreviation, initial, number or name does not end it, nor do signs alone."""
    assert not ended([text])


@given(in_pieces(st.text(alphabet='abcDr12 .!?…。"\n)', max_size=40)))
@example(("Dr. Who. ", ["Dr", ". Who.", " "]))
@example(("D . ", ["D ", ". "]))
def test_pieces_end_like_the_whole_text(text_and_pieces: tuple[str, list[str]]) -> None:
    """The result does not depend on how a text is cut."""
    text, pieces = text_and_pieces
    assert ended(pieces) == ended([text])


def test_an_ended_sentence_stays_ended() -> None:
    """Later text does not matter."""
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
def test_two_spoken_texts_do_not_run_together(before: str, whole: str) -> None:
    """A space separates them; after an unfinished sentence there are also three dots."""
    assert before + spoken_after(before, "Sorry.") == whole


def test_a_word_after_a_megabyte_of_blanks_is_ignored() -> None:
    """Nobody waits for it, and searching for it would block every other turn."""
    assert has_words(" " * 1000 + "word")
    assert not has_words(" " * 1_000_000 + "word")


def test_a_sentence_without_an_end_ends_at_a_limit() -> None:
    """Nobody says four thousand characters in one breath, whatever the pieces."""
    for size in (1, 100, 10_000):
        sentence = FirstSentence()
        for start in range(0, 5000, size):
            sentence.feed(("word " * 1000)[start : start + size])
        assert sentence.ended
    sentence = FirstSentence()
    sentence.feed("word " * 800)
    assert not sentence.ended
