"""Buffer words: their form, which come next, and how our phrases are removed from histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from completions.dialects.request import Extra, ParsedRequest, PastCall
from completions.speech.buffer_words import (
    RepeatFilter,
    choose_phrase,
    language_of,
    strip_phrases,
    with_pause,
)
from completions.speech.phrases import PHRASES
from completions.speech.sentences import has_words
from tests.support.pieces import in_pieces

BUFFER_WORDS = [phrase for phrases in PHRASES.values() for phrase in phrases.buffer]
SENTENCES = [
    sentence
    for phrases in PHRASES.values()
    for sentence in (phrases.failure, phrases.bridge, phrases.closing)
]
CONFIGURED = ("Bear with me", "Hold the line")


def asked(*texts: str, **fields: Any) -> ParsedRequest:
    """A request whose history holds these assistant texts."""
    extra = Extra(
        **{name: fields.pop(name) for name in ("buffer_words", "language") if name in fields}
    )
    return ParsedRequest({}, stream=True, model="m", assistant_texts=texts, extra=extra, **fields)


def chosen(
    request: ParsedRequest, count: int = 0, last: str | None = None, **fields: Any
) -> str | None:
    """Choose the next buffer words."""
    return choose_phrase(
        request, **{"language": "en", "configured": (), "count": count, "last": last, **fields}
    )


@pytest.mark.parametrize(
    "phrase",
    [
        "One moment",
        "One moment...",
        "One moment... ",
        "One moment…",
        " One\n moment . . .",
        "One moment,",
        "One moment!",
        "One moment.....",
    ],
)
def test_any_phrase_ends_in_three_dots_and_a_space(phrase: str) -> None:
    """A deployment or an agent may write it in any form."""
    assert with_pause(phrase) == "One moment... "


@given(st.text())
def test_a_pause_is_added_once(phrase: str) -> None:
    """A phrase that already ends in the pause stays as it is."""
    once = with_pause(phrase)
    assert once.endswith("... ")
    assert not once.endswith(".... ")
    assert with_pause(once) == once


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("de", "de"),
        ("pt-BR", "pt"),
        ("en_US", "en"),
        ("ZH-hans", "zh"),
        ("nb", "no"),
        (" fr ", "fr"),
    ],
)
def test_a_regional_code_selects_the_base_language(code: str, language: str) -> None:
    """Its phrases serve all its regions."""
    assert language_of(asked(language=code), "es") == language


@pytest.mark.parametrize("code", ["tlh", "", "-", "english please"])
def test_an_unknown_language_becomes_the_default(code: str) -> None:
    """If the default has no phrases either, it is English."""
    assert language_of(asked(language=code), "es") == "es"
    assert language_of(asked(language=code), "tlh") == "en"


def test_the_last_detected_language_counts() -> None:
    """The latest call that switched decides, unless the agent sets a language."""
    arguments = ('{"language": "fr"}', '{"language": "de"}', "{")
    calls = tuple(PastCall("language_detection", one, recent=False) for one in arguments)
    assert language_of(asked(calls=calls), "en") == "de"
    assert language_of(asked(calls=calls, language="it"), "en") == "it"


def test_phrases_are_in_the_language() -> None:
    """For an unknown language they are in English."""
    assert chosen(asked(), language="ja") in PHRASES["ja"].buffer
    assert chosen(asked(), language="tlh") in PHRASES["en"].buffer


def test_an_agents_words_come_first() -> None:
    """The deployment's come next, and then the built-in ones."""
    assert chosen(asked(), configured=CONFIGURED) in {"Bear with me... ", "Hold the line... "}
    assert chosen(asked(buffer_words=("Hang on",)), configured=CONFIGURED) == "Hang on... "


def test_an_agent_can_switch_buffer_words_off() -> None:
    """An empty list means silence."""
    assert chosen(asked(buffer_words=()), configured=CONFIGURED) is None


def test_a_source_with_nothing_new_is_skipped() -> None:
    """A single phrase is not repeated; the next source serves instead."""
    request = asked(buffer_words=("Hang on",))
    assert chosen(request, 1, "Hang on... ", configured=CONFIGURED) in {
        "Bear with me... ",
        "Hold the line... ",
    }
    assert chosen(request, 1, "Hang on... ") in PHRASES["en"].buffer
    assert (
        chosen(asked(buffer_words=("...", "?!")), configured=CONFIGURED[:1]) == "Bear with me... "
    )


def test_a_turn_hears_two_different_phrases_and_no_third() -> None:
    """Even a long wait adds no third phrase."""
    first = chosen(asked("Hello."))
    second = chosen(asked("Hello."), 1, first)
    assert first != second
    assert second is not None
    assert chosen(asked("Hello."), 2, second) is None


@given(st.lists(st.text(max_size=10), max_size=5), st.sampled_from(sorted(PHRASES)))
def test_the_same_request_gets_the_same_phrase(texts: list[str], language: str) -> None:
    """A repeated request must not sound different."""
    assert chosen(asked(*texts), language=language) == chosen(asked(*texts), language=language)


@given(st.lists(st.sampled_from(["", "Yes.", "We open at nine."]), min_size=1, max_size=20))
def test_no_phrase_comes_twice_in_a_row(answers: list[str]) -> None:
    """The last phrase of a conversation is not the next one, however long ago it was heard."""
    texts: list[str] = []
    before = None
    for answer in answers:
        phrase = chosen(asked(*texts))
        assert phrase is not None
        assert phrase != before
        texts += [phrase.rstrip() if len(answer) < 5 else phrase + answer, answer]
        before = phrase


def test_phrases_vary() -> None:
    """A long conversation uses every phrase."""
    texts: list[str] = []
    for turn in range(40):
        texts.append((chosen(asked(*texts)) or "") + f"Answer {turn}.")
    assert all(any(text.startswith(phrase) for text in texts) for phrase in PHRASES["en"].buffer)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Okay, one moment... We open at nine.", "We open at nine."),
        ("Okay, one moment...We open at nine.", "We open at nine."),
        ("Okay, one moment… We open at nine.", "We open at nine."),
        ("Okay, one moment... Right, let me check... At nine.", "At nine."),
        ("We open at nine. Okay, one moment...", "We open at nine."),
        ("Okay, one moment...", ""),
        ("Okay, one moment", ""),
        ("Okay, one mom", ""),
        ("Okay, one mom...", ""),
        ("We open at nine. Right, let me ch", "We open at nine."),
        ("好的，请稍等... 九点。", "九点。"),
        ("Bear with me... At nine.", "At nine."),
        (PHRASES["en"].failure, ""),
        (f"We open at. {PHRASES['en'].bridge} At nine.", "We open at. At nine."),
        (f"We open at... {PHRASES['de'].bridge} Um neun.", "We open at... Um neun."),
        (f"We open. {PHRASES['en'].closing}", "We open."),
        ("We open. Sorry, I lost the rest of that,", "We open."),
    ],
)
def test_our_phrases_are_removed(text: str, rest: str) -> None:
    """This includes phrases that a platform trimmed or an interruption cut off."""
    assert strip_phrases(text, CONFIGURED) == rest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Okay, one moment while I look.",
        "Okay.",
        "Ok",
        "Is it okay, one moment is enough.",
        "...",
        "Bear with me, this is long.",
        "He said: bear with me... at nine.",
        "  We open.  ",
        "Sorry, let me start overtime pay first.",
        "Let me see",
        "Right, at nine.",
        "xOkay, one moment... y",
    ],
)
def test_other_words_stay(text: str) -> None:
    """Text that only resembles a phrase is unchanged."""
    assert strip_phrases(text, CONFIGURED) == text


@given(st.sampled_from(BUFFER_WORDS), st.text(alphabet="abc de.,!?\n…", max_size=20))
def test_the_answer_after_a_phrase_is_unchanged(phrase: str, answer: str) -> None:
    """It loses not a single character."""
    assume(not answer or not answer[0].isspace())
    assert strip_phrases(phrase + answer) == answer


@given(st.text(max_size=60))
def test_a_text_without_our_phrases_is_unchanged(text: str) -> None:
    """Only phrases are removed."""
    assume(not any(text.rstrip(" .…—-")[-4:] in phrase for phrase in (*BUFFER_WORDS, *SENTENCES)))
    assert strip_phrases(text) == text


def test_configured_phrases_with_punctuation_are_removed() -> None:
    """A phrase is matched as text, not as a pattern."""
    assert strip_phrases("What (is) that? [a+... b", ("What (is) that? [a+",)) == "b"
    assert strip_phrases("...", ("...", "")) == "..."


def filtered(phrase: str, pieces: list[str]) -> str:
    """Return what is heard of an answer after the phrase."""
    repeat = RepeatFilter(phrase)
    return "".join([*(repeat.feed(piece) for piece in pieces), repeat.flush()])


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        ("Okay, one moment... We open at nine.", "We open at nine."),
        ("okay one moment. We open.", "We open."),
        ("\n OKAY — one moment — we open.", "we open."),
        ("Okay, one moment", ""),
        ("Okay, one moment... ", ""),
        ('Okay, one moment... "Nine."', '"Nine."'),
        ("Okay, one moment while I look.", "while I look."),
        ("Okay, one moments.", "Okay, one moments."),
        ("Okay, one", "Okay, one"),
        ("Okay, we open.", "Okay, we open."),
        ("We open at nine.", "We open at nine."),
        ("  We open.", "  We open."),
        ("Okay, one moment... Okay, one moment... x", "Okay, one moment... x"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_repeated_buffer_words_are_heard_once(answer: str, heard: str) -> None:
    """The model's repetition and its punctuation are removed; the rest is spoken."""
    assert filtered("Okay, one moment... ", [answer]) == heard
    assert filtered("Okay, one moment... ", list(answer)) == heard


def test_an_answer_is_spoken_at_the_first_difference() -> None:
    """Text is released once it cannot be the phrase, and from then on nothing is held back."""
    repeat = RepeatFilter("Okay, one moment... ")
    assert [repeat.feed("Okay, "), repeat.feed("we"), repeat.feed(" op"), repeat.feed("en.")] == [
        "",
        "Okay, we",
        " op",
        "en.",
    ]
    repeat = RepeatFilter("Okay, one moment... ")
    assert [
        repeat.feed("Okay, one moment"),
        repeat.feed("..."),
        repeat.feed(" We"),
        repeat.feed(" op"),
    ] == [
        "",
        "",
        "We",
        " op",
    ]


@pytest.mark.parametrize("phrase", BUFFER_WORDS)
def test_every_phrase_is_recognised(phrase: str) -> None:
    """This holds in every script, even where vowels are combining marks."""
    loud = phrase.upper()
    # Upper-casing the Turkish dotless i gives the capital of another letter.
    spelling = loud if loud.casefold() == phrase.casefold() else phrase
    assert filtered(phrase, [spelling + "x"]) == "x"
    assert filtered(phrase, list(phrase.replace("... ", ", ") + "x")) == "x"


ANSWERS = st.tuples(st.sampled_from(BUFFER_WORDS), st.text(max_size=30)).flatmap(
    lambda drawn: st.tuples(
        st.just(drawn),
        in_pieces(st.sampled_from([drawn[0] + drawn[1], drawn[0][:5] + drawn[1], drawn[1]])),
    )
)


@given(ANSWERS)
def test_repeated_buffer_words_are_removed_from_any_pieces(
    drawn: tuple[tuple[str, str], tuple[str, list[str]]],
) -> None:
    """The same part of an answer is heard, however it is cut."""
    (phrase, rest), (answer, pieces) = drawn
    heard = filtered(phrase, pieces)
    assert heard == filtered(phrase, [answer])
    assert answer.endswith(heard)
    if has_words(rest):
        assert heard == answer or has_words(answer.removesuffix(heard))
