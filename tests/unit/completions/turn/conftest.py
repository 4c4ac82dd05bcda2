"""Answers that break off and empty answers, for tests of whole turns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from local.scripted.script import (
    Cut,
    Done,
    Fail,
    Finish,
    Hold,
    Raw,
    Role,
    Say,
    Step,
    Think,
    Unstreamed,
    Usage,
)

BREAKS: dict[str, tuple[Sequence[Step], int]] = {
    "cut": ([Cut()], 0),
    "closed": ([], 0),
    "stall": ([Hold()], 4000),
    "error event": ([Fail()], 0),
    "error event on an open connection": ([Fail(), Hold()], 0),
    "half an event": ([Raw(b'data: {"choices": [{"del')], 0),
    "a finish that means failure": ([Finish("error"), Done()], 0),
}
TAIL = (Finish(), Usage(), Done())
EMPTY: dict[str, Sequence[Step]] = {
    "a role": [Role(), *TAIL],
    "reasoning": [Role(), Think("Well, "), Think("well."), *TAIL],
    "a think block": [Role(), Say("<think>Well.</think>"), *TAIL],
    "a think block in pieces": [Role(), *map(Say, "<think>Well.</think>\n"), *TAIL],
    "a think block without an end": [Role(), Say("<think>Well. And "), Say("then"), *TAIL],
    "a terminator": [Raw(b"data: [DONE]\n\n")],
    "no letters": [Role(), Say("..."), Say(" \n"), *TAIL],
    "an empty JSON answer": [Unstreamed(), Finish()],
}


@pytest.fixture(params=list(BREAKS.values()), ids=list(BREAKS))
def broken(request: pytest.FixtureRequest) -> tuple[Sequence[Step], int]:
    """The steps of an answer that breaks off, and the milliseconds until we notice."""
    found: tuple[Sequence[Step], int] = request.param
    return found


@pytest.fixture(params=list(EMPTY.values()), ids=list(EMPTY))
def empty(request: pytest.FixtureRequest) -> Sequence[Step]:
    """An answer without a word or a call."""
    found: Sequence[Step] = request.param
    return found
