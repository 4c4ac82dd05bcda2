"""Finds the end of the first sentence of a text, and puts a pause between two spoken texts.

Does not know events, models or time.
"""

from __future__ import annotations

import re


def has_words(text: str) -> bool:
    """Return whether any of the text can be heard: a letter or a digit of any script.

    Only the first `_SIGNS_LIMIT` characters are searched, so that the event loop never waits.
    """
    return _WORD.search(text, 0, _SIGNS_LIMIT) is not None


_WORD = re.compile(r"[^\W_]")
_SIGNS_LIMIT = 64 * 1024
"""In characters. Searching 5 MB takes 60 ms."""
_CLOSERS = "\"')]}»”’"
# Full stops of East Asian scripts end a sentence without a space after them.
_END = re.compile(rf"[。！？]|([.!?…।؟۔]+)[{re.escape(_CLOSERS)}]*(?=(\s)|\Z)")
_ABBREVIATIONS = frozenset(
    {"dr", "mr", "mrs", "ms", "prof", "vs", "e.g", "i.e", "nr", "bzw", "ca", "d.h", "z.b"}
    | {"sr", "sra", "dra", "dott", "mme", "mlle"}
)
_ENDS = ".!?…。！？।؟۔"
_PAUSES = ",;:、，；：،"
_LONGEST_SENTENCE = 4096
"""In characters: where a sentence ends at the latest. Nobody says a longer one."""


def first_sentence_ended(text: str) -> bool:
    """Return True if the first sentence of a text has ended, so that it sounds complete.

    It ends at `. ! ?` or an ellipsis before a space or at the end of the text, and at `。！？`
    anywhere, but never before the first word. A full stop does not end it after a single letter,
    after a common abbreviation (in the languages of `phrases`) or inside a number, nor after a
    digit at the very end of the text, which may be inside a number. It ends after
    `_LONGEST_SENTENCE` characters at the latest.
    """
    if len(text) >= _LONGEST_SENTENCE:
        return True
    first_word = _WORD.search(text)
    if first_word is None:
        return False
    for end in _END.finditer(text, first_word.end()):
        before = text[: end.start()]
        if end[1] != ".":
            return True
        # A full stop after a space belongs to no word.
        word = "" if before[-1:].isspace() else before.rsplit(None, 1)[-1]
        if not (_is_abbreviation(word) or (word[-1:].isdecimal() and not end[2])):
            return True
    return False


def ends_sentence(text: str) -> bool:
    """Return True if the text ends where a sentence ends, so that other words may follow."""
    spoken = text.rstrip().rstrip(_CLOSERS)
    if spoken[-1:] not in tuple(_ENDS):
        return False
    word = "".join(spoken.rstrip(_ENDS).split()[-1:])
    return spoken[-1] != "." or not (_is_abbreviation(word) or word[-1:].isdecimal())


def _is_abbreviation(word: str) -> bool:
    word = word.lstrip("\"'([{«“‘").casefold()
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha())


def spoken_after(before: str, text: str) -> str:
    """Return `text` with the separator that it needs when it is spoken after `before`.

    The separator is empty, a space, or `"... "` after an unfinished sentence; without it the audio
    of the two texts runs together.
    """
    before = before[-_LONGEST_SENTENCE:]
    spoken = before.rstrip()
    if not has_words(before) or spoken.rstrip(_CLOSERS)[-1:] in tuple(_ENDS + _PAUSES):
        touches = before and before == spoken and not text[:1].isspace()
        return f" {text}" if touches else text
    return f"... {text.lstrip()}"
