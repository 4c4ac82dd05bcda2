"""The built-in phrases: complete in each language and suitable for speech."""

from __future__ import annotations

import re

import pytest

from completions.speech.buffer_words import with_pause
from completions.speech.phrases import PHRASES, Phrases

BUFFER_WORDS = [phrase for phrases in PHRASES.values() for phrase in phrases.buffer]
SENTENCES = [
    sentence
    for phrases in PHRASES.values()
    for sentence in (phrases.failure, phrases.bridge, phrases.closing, phrases.declined)
]


def test_many_languages_are_spoken() -> None:
    """There are phrases in the languages of most phone agents."""
    wanted = {"en", "es", "de", "fr", "it", "pt", "nl", "pl"} | {
        "tr",
        "sv",
        "hi",
        "ja",
        "zh",
        "ko",
        "ar",
    }
    assert wanted <= PHRASES.keys()


@pytest.mark.parametrize("language", PHRASES)
def test_each_language_is_complete(language: str) -> None:
    """It has four different buffer words and four sentences."""
    phrases = PHRASES[language]
    assert len({*phrases.buffer}) >= 4
    for sentence in (phrases.failure, phrases.bridge, phrases.closing, phrases.declined):
        assert sentence == sentence.strip()
        assert sentence[-1] in ".?;。？।؟"
    assert len(phrases.bridge) < 45


@pytest.mark.parametrize("language", PHRASES)
def test_declining_does_not_ask_to_repeat(language: str) -> None:
    """Repeating the question would not help, so the sentence asks for something else."""
    phrases = PHRASES[language]
    assert phrases.declined[-1] in "?;？؟。"
    assert phrases.declined.split(",")[-1] != phrases.failure.split(",")[-1]
    assert len(phrases.declined) < 95


@pytest.mark.parametrize("phrase", BUFFER_WORDS)
def test_buffer_words_are_suitable_for_speech(phrase: str) -> None:
    """They open with a short clause and end in exactly three dots and a space."""
    assert with_pause(phrase) == phrase
    clause = re.split("[,、，،]", phrase)[0]
    assert clause != phrase
    assert len(clause) <= 20
    assert len(phrase) <= 40


def test_no_sentence_occurs_twice() -> None:
    """A line copied from another language would be spoken in the wrong one."""
    assert len({*SENTENCES}) == len(SENTENCES)


def test_phrases_cannot_be_changed() -> None:
    """Concurrent turns share them."""
    with pytest.raises(TypeError):
        PHRASES["en"] = Phrases((), "", "", "", "")  # type: ignore[index]
