"""When each word is spoken, and what was heard by a given moment."""

from __future__ import annotations

import pytest

from ops.call.speech import LETTER_MS, SIGN_MS, Speech, pattern, text_of


def _said(*pieces: tuple[str, float], ends_ms: float, speed: float = 1.0) -> Speech:
    speech = Speech(speed)
    for text, at_ms in pieces:
        speech.says(text, at_ms)
    speech.ends(ends_ms)
    return speech


def test_a_word_begins_when_it_is_whole_and_the_one_before_is_over() -> None:
    """Words that arrive together are spoken one after the other, a late one on arrival."""
    speech = _said(("Yes, we ", 100), ("are.", 5000), ends_ms=5001)
    yes, we, are = speech.words
    assert (yes.from_ms, yes.until_ms) == (100, 100 + 5 * LETTER_MS)
    assert we.from_ms == yes.until_ms
    assert are.from_ms == 5001


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_words_are_the_same_however_their_letters_come(size: int) -> None:
    """Tokens may cut words anywhere without losing or doubling a letter."""
    text = "  Well, half-past  six.\nNot later? 12€, ok"
    pieces = [(text[at : at + size], at) for at in range(0, len(text), size)]
    speech = _said(*pieces, ends_ms=999)
    assert speech.text == text_of(speech.words) == text
    assert [word.text.strip() for word in speech.words] == text.split()


def test_what_was_heard_is_whole_words() -> None:
    """A word that was cut off does not count as heard."""
    speech = _said(("Mondays at nine", 0), ends_ms=0)
    first, second, _ = speech.words
    assert text_of(speech.heard_by(second.until_ms - 1)) == "Mondays "
    assert text_of(speech.heard_by(second.until_ms)) == "Mondays at "
    assert not speech.heard_by(first.until_ms - 0.001)


def test_a_phrase_is_over_with_its_last_word() -> None:
    """Case and punctuation do not count, and a phrase that has not arrived has no time."""
    speech = Speech()
    speech.says("Well, on Mondays ", 0)
    assert speech.over_at_ms("on Mondays we") is None
    speech.says("we", 10)
    assert speech.over_at_ms("on Mondays we") is None
    speech.says(" open", 20)
    assert speech.over_at_ms("On mondays, we") == speech.words[3].until_ms


def test_a_phrase_may_be_a_pattern() -> None:
    """A pattern can match words of a real model, which are not known in advance."""
    speech = _said(("We open at nine.", 0), ends_ms=0)
    assert speech.over_at_ms(r"/\w+ \w+/") == speech.words[1].until_ms
    assert speech.over_at_ms("/ten/") is None


def test_speech_can_be_quicker() -> None:
    """A factor shortens every word and nothing else."""
    quick = _said(("One two three", 50), ends_ms=50, speed=10)
    usual = _said(("One two three", 50), ends_ms=50)
    assert quick.until_ms - 50 == pytest.approx((usual.until_ms - 50) / 10)


def test_buffer_words_are_told_from_the_models() -> None:
    """A piece that ends in three dots and a space is the deployment's."""
    speech = _said(("Let me see... ", 10), ("Yes. ", 20), ends_ms=30)
    assert [word.is_buffer for word in speech.words] == [True, True, True, False]


def test_signs_without_blanks_between_them_are_words() -> None:
    """A language written without spaces is split into characters, each with its punctuation."""
    speech = _said(("はい、土曜", 0), ("日です。OK", 5), ends_ms=9)
    assert [word.text for word in speech.words] == [*"は", "い、", *"土曜日で", "す。", "OK"]
    assert speech.words[0].until_ms == SIGN_MS


@pytest.mark.parametrize(
    ("text", "said"),
    [("until  SIX", "Yes, until six."), ("/s.x\\b/", "Six."), ("a.b", "see a.b")],
)
def test_words_are_found_in_any_case_and_patterns_as_such(text: str, said: str) -> None:
    """A text between slashes is a regular expression; any other text is literal."""
    assert pattern(text).search(said)
    assert not pattern(text).search("axb")
