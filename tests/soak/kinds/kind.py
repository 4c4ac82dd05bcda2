"""A kind of upstream behaviour, and what a caller may still expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.soak.script import Acts, Answer, Wait

BOTH = frozenset({"chat", "responses"})
CHAT = frozenset({"chat"})
RESPONSES = frozenset({"responses"})
Script = Callable[[Answer], Acts]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. Without a flag its turn must be honest, audible and well-formed."""

    name: str
    play: Script
    apis: frozenset[str] = BOTH
    """The upstream APIs in which it can occur."""
    streams: bool | None = None
    """True: in streams only; False: in whole answers only; None: in both."""
    tools: bool | None = None
    """True: only with tools; False: only without."""
    good: bool = False
    """The answer is good: it must be heard unchanged, with one request."""
    heals: bool = False
    """If only the first request meets it, the turn must still be answered."""
    errs: bool = False
    """It fails before the first word, and a later repeat may succeed."""
    refuses: bool = False
    """The same model would refuse again, so only another one can answer."""
    unspoken: bool = False
    """The model works silently between words."""
    slow: bool = False
    """It takes so long that only a streamed turn, with its timers, can try again."""
    redials: bool = False
    """A kept connection breaks before the answer, and the request is sent again on a new one."""
    window_s: float = 0.0
    """All requests meet it for this long, and none after that."""
    connects: bool = True
    """False: no connection is made."""


KINDS: dict[str, Kind] = {}
"""Every kind by its name."""


def kind(name: str, **flags: object) -> Callable[[Script], Script]:
    """Register a script as a kind."""

    def register(play: Script) -> Script:
        add(name, play, **flags)
        return play

    return register


def add(name: str, play: Script, **flags: object) -> None:
    """Register a script as a kind; see `Kind` for the flags."""
    assert name not in KINDS, name
    KINDS[name] = Kind(name, play, **flags)  # type: ignore[arg-type]


def healthy(answer: Answer) -> Acts:
    """A good answer of words or of a call."""
    yield Wait(answer.rng.uniform(0.01, 0.4))
    if answer.tools and answer.rng.random() < 0.3:
        yield answer.open() + answer.call()
    else:
        yield answer.open()
        for _ in range(answer.few()):
            yield answer.say()
            yield Wait(answer.rng.uniform(0, 0.1))
    yield answer.end()


HEALTHY = Kind("healthy", healthy, good=True)
"""The turn after every other kind, which must leave no trace."""
