"""Chooses the buffer words of a turn and their language, and hides our phrases from models.

Buffer words are short phrases spoken while the caller waits for a model. Knows what a
conversation has heard so far. Does not know when buffer words are due or how they are written.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache

from completions.dialects.request import ParsedRequest
from completions.speech.phrases import PHRASES
from completions.tools.system_tools import detected_language

BUFFER_WORDS_LIMIT = 2
"""At most this many phrases in one turn."""

_RECENT_CHARS = 64 * 1024
"""How far back to look for the phrase heard last: an hour of speech."""
_ALIASES = {"nb": "no", "nn": "no", "cmn": "zh", "in": "id"}
_TRAILING = " \t\r\n.…,;:!?。、，！？؟،।"
_PAUSE = _TRAILING + "–—"


def with_pause(phrase: str) -> str:
    """Return the phrase on one line, ending in exactly `"... "`: three ASCII dots and one space.

    The dots make the voice linger. Without the space the next words run into them, which distorts
    the audio (the voice platform's documentation of buffer words).
    """
    return " ".join(phrase.split()).rstrip(_TRAILING) + "... "


def language_of(request: ParsedRequest, default: str) -> str:
    """Return the language to speak, as a key of PHRASES.

    In order: the agent's setting, the language detected last, `default`, English. Languages that
    are not in PHRASES are skipped.
    """
    detected = (detected_language(call, request.tools) for call in reversed(request.calls))
    latest = next((language for language in detected if language), None)
    for language in (request.extra.language, latest, default):
        if language:
            base = language.strip().casefold().replace("_", "-").partition("-")[0]
            if (base := _ALIASES.get(base, base)) in PHRASES:
                return base
    return "en"


def choose_phrase(
    request: ParsedRequest,
    *,
    language: str,
    configured: Sequence[str],
    count: int,
    last: str | None,
) -> str | None:
    """Return the next buffer words of a turn that has heard `count` phrases, or None.

    `configured` are the deployment's phrases, and `last` is the latest phrase of this turn. The
    agent's phrases come first (an empty list turns buffer words off), then the deployment's, then
    the built-in ones. No phrase comes twice in a turn or twice in a row in a conversation; a
    source with nothing new is skipped. The same request always gets the same phrases.
    """
    agent = request.extra.buffer_words
    if count >= BUFFER_WORDS_LIMIT or agent == ():
        return None
    sources = [
        [phrase for phrase in dict.fromkeys(map(with_pause, words)) if _letters(phrase)]
        for words in (agent or (), configured, PHRASES.get(language, PHRASES["en"]).buffer)
    ]
    known = [phrase for source in sources for phrase in source]
    heard = {last and with_pause(last), _latest_phrase(request.assistant_texts, known)}
    seed = zlib.crc32(
        "\n".join((*request.assistant_texts, *request.roles)).encode("utf-8", "replace")
    )
    for source in sources:
        if fresh := [phrase for phrase in source if phrase not in heard]:
            return fresh[(seed + count) % len(fresh)]
    return None


def _latest_phrase(texts: Sequence[str], phrases: Sequence[str]) -> str | None:
    """Return the phrase heard last in the recent conversation, or None."""
    left_chars = _RECENT_CHARS
    for text in reversed(texts):
        left_chars -= len(text) + 64  # Counted as in `clean_if_spoken`.
        if left_chars < 0:
            return None
        ends = []
        for phrase in phrases:
            core = phrase.rstrip(_TRAILING)
            if (at := text.rfind(core)) >= 0:
                ends.append((at + len(core), len(core), phrase))
        if ends:
            return max(ends)[2]
    return None


def strip_phrases(text: str, configured: Sequence[str] = ()) -> str:
    """Remove our phrases from an assistant text of the history; keep the rest to the letter.

    `configured` are the buffer words of the agent and of the deployment; the built-in phrases of
    every language are removed as well. Models imitate phrases that they see in the history.
    Platforms hand texts back trimmed, and cut where the caller interrupted: without the space or
    the dots, or with half a phrase at the end.
    """
    for half, core, dots in _removable(tuple(configured)):
        if half in text:
            text = _without_phrase(text, half, core, dots)
    return text


def _without_phrase(text: str, half: str, core: str, dots: str) -> str:
    rest = _pattern(core, dots).sub("", text)
    at = rest.rfind(half)
    if at >= 0 and core.startswith(rest[at:].rstrip(" .…—-")) and _may_begin(rest[:at]):
        return rest[:at].rstrip()
    # The space before a phrase at the end came with the phrase.
    return rest.rstrip() if rest != text and text.startswith(rest) else rest


def _may_begin(before: str) -> bool:
    return not before.strip() or before.rstrip()[-1] in _TRAILING


@lru_cache(maxsize=16)
def _removable(configured: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """Return each phrase, longest first: its first half, its words, a pattern of what follows."""
    built_in = (phrase for phrases in PHRASES.values() for phrase in phrases.buffer)
    buffer = {*map(with_pause, configured), *built_in}
    known = [(phrase.rstrip(_TRAILING), r"\s*(?:\.{3}|…)") for phrase in buffer]
    for phrases in PHRASES.values():
        sentences = (phrases.failure, phrases.bridge, phrases.closing, phrases.declined)
        known += [(core, "") for core in sentences]
    return tuple(
        (core[: max(4, (len(core) + 1) // 2)], core, dots)
        for core, dots in sorted(known, key=lambda one: (-len(one[0]), one))
        if core
    )


@lru_cache(maxsize=512)
def _pattern(core: str, dots: str) -> re.Pattern[str]:
    """Return a pattern that matches a whole phrase."""
    # No letter may precede the phrase. The look-behind comes after the words, because a pattern
    # that begins with words is searched several times as fast.
    words = re.escape(core)
    return re.compile(rf"{words}(?<!\w{words}){dots}\s?")


def _letters(text: str) -> str:
    return "".join(character.casefold() for character in text if _is_letter(character))


def _is_letter(character: str) -> bool:
    # Vowel signs of Indian scripts are marks (category M), and part of a word.
    return character.isalnum() or unicodedata.category(character)[0] == "M"


class RepeatFilter:
    """Removes the buffer words that were just spoken from the start of a model's answer.

    Models repeat them. Only letters and digits are compared, without case. Text is held back only
    while all of it could still be the repeated phrase; the punctuation after the phrase is
    removed with it. Everything else passes unchanged.
    """

    def __init__(self, phrase: str) -> None:
        self._wanted = _letters(phrase)
        self._held = ""
        self._seen = 0
        """How many characters of `_held` have been compared."""
        self._matched = 0
        """How many letters of `_wanted` have matched."""
        self._deciding = bool(self._wanted)
        self._pausing = False

    def feed(self, text: str) -> str:
        """Take the next piece of the answer, and return what may be spoken by now."""
        if self._deciding:
            self._held += text
            end = self._end_of_repeat()
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
        """Return what is still held at the end of the answer, unless that is the whole phrase."""
        held, self._held = self._held, ""
        return "" if _letters(held) == self._wanted else held

    def _end_of_repeat(self) -> int | None:
        """Return where the repeated phrase ends; 0 if nowhere, None if it is too early."""
        for position in range(self._seen, len(self._held)):
            character = self._held[position]
            letter = character.casefold() if _is_letter(character) else ""
            if self._matched == len(self._wanted):
                # A letter right after the phrase makes its last word a different word.
                return 0 if letter and _is_letter(self._held[position - 1]) else position
            if not self._wanted.startswith(letter, self._matched):
                return 0
            self._matched += len(letter)
        self._seen = len(self._held)
        return None
