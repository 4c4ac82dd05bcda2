"""Reads the header of a message in a model's text: who speaks, on which channel, to whom.

The formats are OpenAI's harmony (cookbook.openai.com, "OpenAI harmony response format") and,
without channels, those of ChatML, Llama and Gemma. Knows one header without its marks.
"""

from __future__ import annotations

import re

from completions.immutable import immutable

_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_OTHERS = re.compile(r"\s*(?:user|system|developer|tool|human|observation|ipython)\b")
_THOUGHTS = re.compile(r"\s*(?:assistant\s+)?analysis\b")
_OURS = re.compile(
    r"\s*(?:(?:assistant|model|ai|bot)\b)?\s*(?:(?:final|commentary)\b)?\s*(?:json\b)?\s*"
)


@immutable
class Header:
    """What a header says about the message after it."""

    recipient: str = ""
    """The tool that the message calls."""
    silent: bool = False
    """True for somebody else's words, thoughts, or a message to a tool."""
    others: bool = False
    """True for somebody else's words."""
    words: str = ""
    """Words of the answer: the text after the role, or all of it if it is not a header."""


def read_header(text: str) -> Header:
    """Read the text between the mark of a header and the header's end."""
    if recipient := _RECIPIENT.search(text):
        return Header(recipient[1], silent=True)
    if others := _OTHERS.match(text) or _THOUGHTS.match(text):
        return Header(silent=True, others=others.re is _OTHERS)
    role = _OURS.match(text)
    return Header(words=text[role.end() :] if role and role[0].strip() else text)
