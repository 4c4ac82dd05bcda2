"""Reads the values that a tool's description lists in words.

A misread list refuses good calls, and a missed one refuses nothing, so only an unmistakable list
counts. Knows words, not tools or schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n")
_TEXT_LIMIT_CHARS = 16 * 1024
"""A longer text is not a description; reading it would hold up the process's other turns."""
_DOUBT = re.compile(
    r"\bnot\b|n['’]t\b|\bnever\b|\bno longer\b|\bavoid|\bexcept|\bbut\b|\bunless\b|\bwithout\b"
    r"|\bothers?\b|\bunavailable\b|\bunsupported\b|\bexamples?\b|\be\.? ?g\b|\binstance\b|\blike\b"
    r"|\bsuch\b|\binclud|\betc\b|\bmore\b|\bso on\b|\bany\b|\bformat|\bown\b|\bour\b|\byour\b|…"
    r"|\.\.\.",
    re.IGNORECASE,
)
"""Words of doubt: the values are forbidden, examples, incomplete, or somebody else's."""
_INTRODUCTION = re.compile(
    r"\b(?:available|supported|allowed|valid|possible|enabled|configured|permitted|accepted|one of"
    r"|languages?(?: codes?)?(?= *:))\b",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:[\s:=]|\b(?:languages?|codes?|values?|are|is|of|the|these|following|only)\b)*",
    re.IGNORECASE,
)

_CODE = r"(?:[a-z]{2}|fil)(?:-[A-Za-z]{2,4})?"
_NAME = r"[^\W\d_a-z][\w'’]*(?: [^\W\d_][\w'’]*){0,2}"
_ITEM = re.compile(
    rf"(?:{_NAME})? *[\"'`(\[]*(?P<code>{_CODE})[\"'`)\]]*"
    rf"(?: *\({_NAME}\)| *[:=–—-] *{_NAME})?[.)\]]*"
)
_NAMED_ITEM = re.compile(rf"{_NAME} *\((?P<code>{_CODE})\)\.?")
_LINE_ITEM = re.compile(rf"[^\w\n]*(?P<code>{_CODE})[\"'`)\]]* *[:=–—-] *\w[^\n]*")
_LOOSE_CODE = re.compile(rf"[\"'`(\[]({_CODE})[\"'`)\]]|(?:^|[,;/|:]) *({_CODE})(?= *[.,;/|]|$)")
_SEPARATOR = re.compile(r" *[,;/|] *(?:(?:and|or) )?| +(?:and|or) +")
_ENGLISH_WORDS = frozenset(
    "am an as at be by do go he hi if in is it me my no of oh ok on or so to up us we".split()  # noqa: SIM905 - 28 quoted words are no easier to read
)
"""Words that look like language codes; a list of only these is not a list of languages."""

_NUMBER = r"(?:\+\d[\d ().-]{5,}\d|\b\d{7,}\b|\bsips?:[^\s,;\"')]+)"
_NUMBERS = re.compile(_NUMBER)
_OFFERED_NUMBER = re.compile(rf"{_NUMBER}\"?'? *[:=(–—]|[:=(–—] *\"?'?{_NUMBER}")
_DIALLED = re.compile(
    r"\b(?:transfer|call|dial|hand|connect|forward|rout|reach|available|one of|configured)",
    re.IGNORECASE,
)


def language_codes(text: str) -> list[str]:
    """Return the language codes that a text lists; empty if no list is unmistakable.

    A list is a sentence that announces it (`Available: en, de`), a sentence of only languages with
    their codes (`English (en), German (de)`), or lines that begin with a code.
    """
    if len(text) > _TEXT_LIMIT_CHARS:
        return []
    listed = dict.fromkeys(_codes_in_lines(text))
    loose: set[str] = set()
    for sentence in _sentences(text):
        codes = _codes_in_sentence(sentence)
        listed.update(dict.fromkeys(codes))
        if not codes:
            loose.update(code for found in _LOOSE_CODE.findall(sentence) for code in found if code)
    # A code outside of a list may be valid, too.
    doubtful = loose - listed.keys() - _ENGLISH_WORDS
    return [] if doubtful or _ENGLISH_WORDS.issuperset(listed) else list(listed)


def _codes_in_sentence(sentence: str) -> list[str]:
    item, items = _NAMED_ITEM, sentence.strip()
    if introduction := _INTRODUCTION.search(sentence):
        start = _FILLER.match(sentence, introduction.end())
        item, items = _ITEM, sentence[start.end() if start else 0 :].strip()
    found = [item.fullmatch(piece) for piece in _SEPARATOR.split(items)]
    codes = [one["code"] for one in found if one]
    return codes if len(codes) == len(found) > 1 else []


def _codes_in_lines(text: str) -> Iterator[str]:
    run: list[str] = []
    doubtful = False
    before = ""
    for line in (*text.split("\n"), ""):
        if item := _LINE_ITEM.fullmatch(line.strip()):
            # The line above a list may change what it means: "Never:", "For example:".
            doubtful = doubtful or bool(_DOUBT.search(line) or (not run and _DOUBT.search(before)))
            run.append(item["code"])
            continue
        if len(run) > 1 and not doubtful:
            yield from run
        run, doubtful = [], False
        before = line if line.strip() else before


def phone_numbers(text: str) -> list[str]:
    """Return all numbers and SIP addresses in a text if some of them are there to be called.

    All of them, because one number too many refuses nothing.
    """
    if len(text) > _TEXT_LIMIT_CHARS or not any(map(_offers_number, _sentences(text))):
        return []
    return list(dict.fromkeys(number.rstrip(".:") for number in _NUMBERS.findall(text)))


def _offers_number(sentence: str) -> bool:
    return bool(_NUMBERS.search(sentence)) and bool(
        _OFFERED_NUMBER.search(sentence) or _DIALLED.search(sentence)
    )


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences without a word of doubt."""
    for sentence in _SENTENCE_END.split(text):
        if not _DOUBT.search(sentence):
            yield sentence
