"""Texts, and the pieces in which they may arrive."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st


@st.composite
def in_pieces(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> tuple[str, list[str]]:
    """Draw a text, and the same text cut at up to eight places."""
    text = draw(texts)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [text[a:b] for a, b in itertools.pairwise([0, *places, len(text)])]
