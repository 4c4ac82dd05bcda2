"""The end of a first sentence, and the pause between two spoken texts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from completions.speech.sentences import first_sentence_ended, has_words, spoken_after

TEXTS = st.text(alphabet='abcDr12 .!?…。"\n)', max_size=40)


@pytest.mark.parametrize("text", ["a", "... 5", "你", "é", "क", " ok "])
def test_letters_and_digits_are_words(text: str) -> None:
    """A letter or a digit of any script can be heard."""
    assert has_words(text)


@pytest.mark.parametrize("text", ["", " ", "... ", "?!", "—", "\n\n", "🙂"])
def test_punctuation_is_not_a_word(text: str) -> None:
    """Punctuation, spaces and emoji cannot be heard."""
    assert not has_words(text)


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
        "Dr. Who. ",
        "D . ",
    ],
)
def test_a_sentence_has_ended(text: str) -> None:
    """A full stop, a question or exclamation mark, or an ellipsis after words ends a sentence."""
    assert first_sentence_ended(text)


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
    assert not first_sentence_ended(text)


@given(TEXTS, TEXTS)
@example("Dr. Who.", "And then")
def test_an_ended_sentence_stays_ended(text: str, later: str) -> None:
    """Text after the space that follows it does not matter."""
    if first_sentence_ended(f"{text} "):
        assert first_sentence_ended(f"{text} {later}")


@given(TEXTS, st.sampled_from(["", " ", "...", ". ", "?! "]))
def test_signs_before_the_first_word_do_not_matter(text: str, signs: str) -> None:
    """A sentence begins with its first word."""
    assert first_sentence_ended(f"{signs} {text}") == first_sentence_ended(text)


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
    """Nobody says four thousand characters in one breath."""
    assert first_sentence_ended("word " * 1000)
    assert not first_sentence_ended("word " * 800)
