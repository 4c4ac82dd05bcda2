"""Words of ours: how they look, which are spoken when, and that models do not get to see them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from completions.dialects.request import Extra, ParsedRequest, PastCall
from completions.speech.buffer_words import (
    PHRASES,
    CopyFilter,
    Phrases,
    choose,
    language_of,
    normalise,
    strip,
)
from completions.speech.sentences import has_words

ALL = [phrase for phrases in PHRASES.values() for phrase in phrases.buffer]
SENTENCES = [
    sentence
    for phrases in PHRASES.values()
    for sentence in (phrases.failure, phrases.bridge, phrases.closing)
]
OWN = ("Bear with me", "Hold the line")


def asked(*texts: str, **fields: Any) -> ParsedRequest:
    """A request whose history holds these assistant texts."""
    extra = Extra(
        **{name: fields.pop(name) for name in ("buffer_words", "language") if name in fields}
    )
    return ParsedRequest({}, stream=True, model="m", assistant_texts=texts, extra=extra, **fields)


def chosen(
    request: ParsedRequest, count: int = 0, last: str | None = None, **fields: Any
) -> str | None:
    """The next buffer words."""
    return choose(request, **{"language": "en", "own": (), "count": count, "last": last, **fields})


def test_many_languages_are_spoken() -> None:
    """At least the languages that phone agents are sold in."""
    wanted = {
        "en",
        "es",
        "de",
        "fr",
        "it",
        "pt",
        "nl",
        "pl",
        "tr",
        "sv",
        "hi",
        "ja",
        "zh",
        "ko",
        "ar",
    }
    assert wanted <= set(PHRASES)


@pytest.mark.parametrize("language", PHRASES)
def test_each_language_is_complete(language: str) -> None:
    """Four different buffer words and three sentences of its own."""
    phrases = PHRASES[language]
    assert len({*phrases.buffer}) >= 4
    for sentence in (phrases.failure, phrases.bridge, phrases.closing):
        assert sentence == sentence.strip()
        assert sentence[-1] in ".?;。？।؟"
    assert len(phrases.bridge) < 45


@pytest.mark.parametrize("phrase", ALL)
def test_buffer_words_are_fit_to_be_spoken(phrase: str) -> None:
    """They open with a short clause and end in exactly three dots and a space."""
    assert normalise(phrase) == phrase
    clause = re.split("[,、，،]", phrase)[0]
    assert clause != phrase
    assert len(clause) <= 20
    assert len(phrase) <= 40


def test_no_phrase_is_in_two_languages_by_mistake() -> None:
    """A copied line would be spoken in the wrong language."""
    assert len({*SENTENCES}) == len(SENTENCES)


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
    """Whatever a deployment or an agent wrote."""
    assert normalise(phrase) == "One moment... "


@given(st.text())
def test_normalising_twice_changes_nothing(phrase: str) -> None:
    """A phrase that is right stays as it is."""
    once = normalise(phrase)
    assert once.endswith("... ")
    assert not once.endswith(".... ")
    assert normalise(once) == once


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
def test_a_regional_language_is_its_base(code: str, language: str) -> None:
    """The words of the language are spoken in all its regions."""
    assert language_of(asked(language=code), "es") == language


@pytest.mark.parametrize("code", ["tlh", "", "-", "english please"])
def test_an_unknown_language_is_the_default(code: str) -> None:
    """A language without words of ours is spoken in the default, and that is one we speak."""
    assert language_of(asked(language=code), "es") == "es"
    assert language_of(asked(language=code), "tlh") == "en"


def test_the_last_detected_language_counts() -> None:
    """The latest call that switched decides, unless the agent sets a language."""
    arguments = ('{"language": "fr"}', '{"language": "de"}', "{")
    calls = tuple(PastCall("language_detection", one, recent=False) for one in arguments)
    assert language_of(asked(calls=calls), "en") == "de"
    assert language_of(asked(calls=calls, language="it"), "en") == "it"


def test_the_language_is_spoken() -> None:
    """The words are the language's; an unknown one gets English."""
    assert chosen(asked(), language="ja") in PHRASES["ja"].buffer
    assert chosen(asked(), language="tlh") in PHRASES["en"].buffer


def test_an_agents_words_come_first() -> None:
    """Before the deployment's, which come before ours."""
    assert chosen(asked(), own=OWN) in {"Bear with me... ", "Hold the line... "}
    assert chosen(asked(buffer_words=("Hang on",)), own=OWN) == "Hang on... "


def test_an_agent_can_have_none() -> None:
    """An empty list means silence."""
    assert chosen(asked(buffer_words=()), own=OWN) is None


def test_who_has_nothing_else_to_say_leaves_the_turn_to_the_next() -> None:
    """One phrase alone is not repeated, and does not mean silence."""
    request = asked(buffer_words=("Hang on",))
    assert chosen(request, 1, "Hang on... ", own=OWN) in {"Bear with me... ", "Hold the line... "}
    assert chosen(request, 1, "Hang on... ") in PHRASES["en"].buffer
    assert chosen(asked(buffer_words=("...", "?!")), own=OWN[:1]) == "Bear with me... "


def test_a_turn_hears_two_different_phrases_and_no_third() -> None:
    """However long it takes."""
    first = chosen(asked("Hello."))
    second = chosen(asked("Hello."), 1, first)
    assert first != second
    assert second is not None
    assert chosen(asked("Hello."), 2, second) is None


@given(st.lists(st.text(max_size=10), max_size=5), st.sampled_from(sorted(PHRASES)))
def test_the_same_request_gets_the_same_words(texts: list[str], language: str) -> None:
    """A request that is posted again must not sound different."""
    assert chosen(asked(*texts), language=language) == chosen(asked(*texts), language=language)


@given(st.lists(st.sampled_from(["", "Yes.", "We open at nine."]), min_size=1, max_size=20))
def test_no_phrase_comes_twice_running_in_a_conversation(answers: list[str]) -> None:
    """The phrase that was heard last is not the next, however long ago."""
    texts: list[str] = []
    before = None
    for answer in answers:
        phrase = chosen(asked(*texts))
        assert phrase is not None
        assert phrase != before
        texts += [phrase.rstrip() if len(answer) < 5 else phrase + answer, answer]
        before = phrase


def test_the_words_vary() -> None:
    """A conversation of many waits hears every phrase."""
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
def test_words_of_ours_are_taken_out(text: str, rest: str) -> None:
    """Also when a platform trimmed them or an interruption cut them."""
    assert strip(text, OWN) == rest


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
    """What only resembles words of ours is the model's, to the letter."""
    assert strip(text, OWN) == text


@given(st.sampled_from(ALL), st.text(alphabet="abc de.,!?\n…", max_size=20))
def test_what_follows_stays_to_the_letter(phrase: str, answer: str) -> None:
    """An answer behind buffer words loses not one character."""
    assume(not answer or not answer[0].isspace())
    assert strip(phrase + answer) == answer


@given(st.text(max_size=60))
def test_a_text_without_words_of_ours_is_the_same(text: str) -> None:
    """Nothing else is taken out."""
    assume(not any(text.rstrip(" .…—-")[-4:] in phrase for phrase in (*ALL, *SENTENCES)))
    assert strip(text) == text


def test_phrases_of_own_with_signs_are_taken_out() -> None:
    """A phrase is words, not a pattern."""
    assert strip("What (is) that? [a+... b", ("What (is) that? [a+",)) == "b"
    assert strip("...", ("...", "")) == "..."


def filtered(phrase: str, pieces: list[str]) -> str:
    """What is heard of an answer behind a filler."""
    copy = CopyFilter(phrase)
    return "".join([*(copy.feed(piece) for piece in pieces), copy.flush()])


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
def test_a_copy_of_the_filler_is_not_heard_twice(answer: str, heard: str) -> None:
    """The model's own copy and the pause behind it are removed, everything else is spoken."""
    assert filtered("Okay, one moment... ", [answer]) == heard
    assert filtered("Okay, one moment... ", list(answer)) == heard


def test_an_answer_is_spoken_at_the_first_difference() -> None:
    """Nothing is held once it cannot be the copy, and afterwards nothing at all."""
    copy = CopyFilter("Okay, one moment... ")
    assert [copy.feed("Okay, "), copy.feed("we"), copy.feed(" op"), copy.feed("en.")] == [
        "",
        "Okay, we",
        " op",
        "en.",
    ]
    copy = CopyFilter("Okay, one moment... ")
    assert [
        copy.feed("Okay, one moment"),
        copy.feed("..."),
        copy.feed(" We"),
        copy.feed(" op"),
    ] == [
        "",
        "",
        "We",
        " op",
    ]


@pytest.mark.parametrize("phrase", ALL)
def test_every_phrase_is_known_again(phrase: str) -> None:
    """In every script, also where vowels are signs."""
    loud = phrase.upper()
    # The capital of a Turkish dotless i is another language's.
    spelling = loud if loud.casefold() == phrase.casefold() else phrase
    assert filtered(phrase, [spelling + "x"]) == "x"
    assert filtered(phrase, list(phrase.replace("... ", ", ") + "x")) == "x"


@given(st.sampled_from(ALL), st.text(max_size=30), st.lists(st.integers(0, 60), max_size=6))
def test_a_copy_is_removed_alike_in_any_pieces(phrase: str, rest: str, places: list[int]) -> None:
    """However an answer is cut, the same of it is heard."""
    for answer in (phrase + rest, phrase[:5] + rest, rest):
        bounds = [0, *sorted(min(place, len(answer)) for place in places), len(answer)]
        pieces = [answer[a:b] for a, b in itertools.pairwise(bounds)]
        heard = filtered(phrase, pieces)
        assert heard == filtered(phrase, [answer])
        assert answer.endswith(heard)
        if not has_words(rest):
            continue
        assert heard == answer or has_words(answer.removesuffix(heard))


def test_phrases_are_facts() -> None:
    """Nobody changes the words of a language while others speak it."""
    with pytest.raises(TypeError):
        PHRASES["en"] = Phrases((), "", "", "")  # type: ignore[index]
