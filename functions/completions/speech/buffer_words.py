"""Words of ours: which ones to speak, in whose language, and how to keep models from them.

Knows what a conversation has already heard; knows nothing of time (when they are due) and of
frames (how they are written).
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache

from completions.dialects.request import ParsedRequest
from completions.speech.phrases import PHRASES, Phrases
from completions.tools.system_tools import detected_language

__all__ = ["PHRASES", "CopyFilter", "Phrases", "choose", "language_of", "normalise", "strip"]

BUFFER_WORDS_LIMIT = 2
"""A turn never hears a third."""

_ALIASES = {"nb": "no", "nn": "no", "cmn": "zh", "in": "id"}
_LOOSE_END = " \t\r\n.…,;:!?。、，！？؟،।"
_PAUSE = _LOOSE_END + "–—"


def normalise(phrase: str) -> str:
    """The phrase on one line, ending in exactly `"... "`: three ASCII dots and one space.

    The dots make the voice linger; without the space the next words are glued to them, which
    distorts the audio (the voice platform's documentation of buffer words).
    """
    return " ".join(phrase.split()).rstrip(_LOOSE_END) + "... "


def language_of(request: ParsedRequest, default: str) -> str:
    """A key of PHRASES: what the agent sets, what was last detected, the default, or English."""
    detected = (detected_language(call, request.tools) for call in reversed(request.calls))
    latest = next((language for language in detected if language), None)
    for language in (request.extra.language, latest, default):
        if language:
            base = re.split(r"[-_]", language.strip().casefold(), maxsplit=1)[0]
            if (base := _ALIASES.get(base, base)) in PHRASES:
                return base
    return "en"


def choose(
    request: ParsedRequest, *, language: str, own: Sequence[str], count: int, last: str | None
) -> str | None:
    """The next buffer words of a turn that has heard `count` of them, `last` the latest; or None.

    The agent's words (an empty list: none at all) come before the deployment's (`own`), these
    before ours. No phrase comes twice in a turn or twice running in a conversation; who has
    nothing else to say leaves the turn to the next. The same request always gets the same words.
    """
    agent = request.extra.buffer_words
    if count >= BUFFER_WORDS_LIMIT or agent == ():
        return None
    sources = [
        [phrase for phrase in dict.fromkeys(map(normalise, words)) if _letters(phrase)]
        for words in (agent or (), own, PHRASES.get(language, PHRASES["en"]).buffer)
    ]
    known = [phrase for source in sources for phrase in source]
    heard = {last and normalise(last), _latest(request.assistant_texts, known)}
    seed = zlib.crc32(
        "\n".join((*request.assistant_texts, *request.roles)).encode("utf-8", "replace")
    )
    for source in sources:
        if fresh := [phrase for phrase in source if phrase not in heard]:
            return fresh[(seed + count) % len(fresh)]
    return None


def _latest(texts: Sequence[str], phrases: Sequence[str]) -> str | None:
    """The phrase that was heard last in the conversation."""
    for text in reversed(texts):
        ends = []
        for phrase in phrases:
            core = phrase.rstrip(_LOOSE_END)
            if (at := text.rfind(core)) >= 0:
                ends.append((at + len(core), len(core), phrase))
        if ends:
            return max(ends)[2]
    return None


def strip(text: str, own: Sequence[str] = ()) -> str:
    """An assistant text of the history without words of ours, everything else to the letter.

    `own` are the agent's and the deployment's buffer words; ours in every language go as well.
    Models that find them there imitate them. Platforms hand texts back trimmed, and cut where
    the caller interrupted: without the space or the dots, or down to half of a phrase at the end.
    """
    for half, core, dots in _known(tuple(own)):
        if half in text:
            text = _without(text, half, core, dots)
    return text


def _without(text: str, half: str, core: str, dots: str) -> str:
    rest = re.sub(rf"(?<!\w){re.escape(core)}{dots}\s?", "", text)
    at = rest.rfind(half)
    if at >= 0 and core.startswith(rest[at:].rstrip(" .…—-")) and _may_begin(rest[:at]):
        return rest[:at].rstrip()
    # At the end, the space in front of words of ours was ours as well.
    return rest.rstrip() if rest != text and text.startswith(rest) else rest


def _may_begin(before: str) -> bool:
    return not before.strip() or before.rstrip()[-1] in _LOOSE_END


@lru_cache(maxsize=16)
def _known(own: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """Of each phrase of ours, longest first: its first half, its words, what follows them."""
    buffer = {*map(normalise, own), *(p for phrases in PHRASES.values() for p in phrases.buffer)}
    known = [(phrase.rstrip(_LOOSE_END), r"\s*(?:\.{3}|…)") for phrase in buffer]
    for phrases in PHRASES.values():
        known += [(core, "") for core in (phrases.failure, phrases.bridge, phrases.closing)]
    return tuple(
        (core[: max(4, (len(core) + 1) // 2)], core, dots)
        for core, dots in sorted(known, key=lambda one: (-len(one[0]), one))
        if core
    )


def _letters(text: str) -> str:
    return "".join(character.casefold() for character in text if _is_letter(character))


def _is_letter(character: str) -> bool:
    # Vowel signs of Indian scripts are marks, and part of a word.
    return character.isalnum() or unicodedata.category(character)[0] == "M"


class CopyFilter:
    """Removes a model's own copy of the filler that was just spoken from the start of its answer.

    Letters and digits are compared, without case. Text is held back only while all of it could
    still be the copy; the pause behind a copy goes with it. Then everything passes as it is.
    """

    def __init__(self, phrase: str) -> None:
        self._wanted = _letters(phrase)
        self._held = ""
        self._deciding = bool(self._wanted)
        self._pausing = False

    def feed(self, text: str) -> str:
        """What of the answer may be spoken by now."""
        if self._deciding:
            self._held += text
            end = self._end_of_copy()
            if end is None:
                return ""
            self._deciding = False
            self._pausing = end > 0
            text, self._held = self._held[end:], ""
        if self._pausing:
            text = text.lstrip(_PAUSE)
            self._pausing = not text
        return text

    def flush(self) -> str:
        """What was held when the answer ended: nothing if all of it was the copy."""
        held, self._held = self._held, ""
        return "" if _letters(held) == self._wanted else held

    def _end_of_copy(self) -> int | None:
        """Where the copy ends; 0 if there is none, None if that cannot be told yet."""
        matched = 0
        for position, character in enumerate(self._held):
            letter = character.casefold() if _is_letter(character) else ""
            if matched == len(self._wanted):
                # A letter right behind the phrase makes its last word another one.
                return 0 if letter and _is_letter(self._held[position - 1]) else position
            if not self._wanted.startswith(letter, matched):
                return 0
            matched += len(letter)
        return None
