"""Reads the header of a message in a model's text: who speaks, on which channel, to whom.

As in OpenAI's harmony format (cookbook.openai.com, "OpenAI harmony response format") and, without
channels, in ChatML, Llama's and Gemma's templates. Knows one header without its marks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_OTHERS = re.compile(r"\s*(?:user|system|developer|tool|human|observation|ipython)\b")
_THOUGHTS = re.compile(r"\s*(?:assistant\s+)?analysis\b")
_OURS = re.compile(
    r"\s*(?:(?:assistant|model|ai|bot)\b)?\s*(?:(?:final|commentary)\b)?\s*(?:json\b)?\s*"
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the message behind a header is."""

    recipient: str = ""
    """The tool that it calls."""
    silent: bool = False
    """Somebody else's words, thoughts, or a message to a tool."""
    others: bool = False
    """Somebody else's words."""
    words: str = ""
    """What follows the role, or all of what is no header: words of the answer."""


def read_header(text: str) -> Header:
    """Return what stands between the mark of a header and its end."""
    if recipient := _RECIPIENT.search(text):
        return Header(recipient[1], silent=True)
    if others := _OTHERS.match(text) or _THOUGHTS.match(text):
        return Header(silent=True, others=others.re is _OTHERS)
    role = _OURS.match(text)
    return Header(words=text[role.end() :] if role and role[0].strip() else text)
