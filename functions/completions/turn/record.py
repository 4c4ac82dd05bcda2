"""What happened in a turn, noted by those who see it while it happens.

One object a turn, from the plan to the last byte; `report` makes the log line and the metrics of
it. Knows counts, names and moments (the event loop's time, in seconds); decides nothing but how
many requests a turn may make.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from completions.settings import Candidate
from completions.upstream.exchange import Exchange

REQUESTS_LIMIT = 3
"""Upstream requests of one turn, hedges and repeats included."""
TOKENS_LIMIT = 1_000_000_000
"""More tokens than this are no count: metrics cannot hold every number that JSON can."""


class Outcome(StrEnum):
    """How a turn ended. The log line, the metric's dimension and docs/operations.md have no other.

    What went wrong is told beside it (`error.type`): that set is as open as the models' own errors.
    """

    OK = "ok"
    """The model's answer, to its end."""
    HUNG_UP = "hung_up"
    """The caller left first, which is no error."""
    EMPTY = "empty"
    """No word and no call came, so `skip_turn` was called or a pause was sent."""
    BRIDGED = "bridged"
    """Cut in its first sentence; after a short bridge another answer came, to its end."""
    CUT = "cut"
    """An answer broke off; a closing sentence, a whole call or an error frame ended it."""
    APOLOGY = "apology"
    """No answer, or none that can be used: the failure sentence was spoken."""
    ERROR = "error"
    """No answer: an error status, or an error frame behind buffer words."""
    REFUSED = "refused"
    """The request was refused before a turn was made of it."""
    CRASHED = "crashed"
    """A bug of ours, or the turn was stopped from outside before its end."""

    @property
    def failed(self) -> bool:
        """Whether somebody should be told: the caller did not get what was asked for."""
        return self in _FAILED


_FAILED = {Outcome.CUT, Outcome.APOLOGY, Outcome.ERROR, Outcome.REFUSED, Outcome.CRASHED}


@dataclass(slots=True, eq=False)
class TurnRecord:
    """One turn's facts so far."""

    exchanges: list[Exchange] = field(default_factory=list)
    winner: Candidate | None = None
    """Who answered, last of all if several did."""
    source: int = 0
    """The attempt whose answer that was."""
    chunks: int = 0
    """Frames of all answers that were passed on or held, not of those that lost."""

    # What the caller got.
    words: list[str] = field(default_factory=list)
    """The model's, and a bridge of ours between two answers."""
    first_model_output_at: float | None = None
    """The first word, or the first whole call."""
    first_spoken_at: float | None = None
    """The first words, ours or the model's."""
    buffer_words: int = 0
    last_buffer_words: str | None = None
    called: list[str] = field(default_factory=list)
    """The names of the tool calls that were delivered."""
    repairs: int = 0
    """Calls that did not fit their schema: mended here, or asked for again."""
    bridged: bool = False
    retried_with_feedback: bool = False
    repeated: bool = False

    # How it ended.
    outcome: Outcome | None = None
    error_type: str = ""
    finish: str = ""

    @property
    def can_ask(self) -> bool:
        """Whether the turn may make another request."""
        return len(self.exchanges) < REQUESTS_LIMIT

    def ask(self, candidate: Candidate, source: int, *, hedge: bool) -> Exchange | None:
        """Notes a request that is made now; None when the turn has used up its own."""
        if not self.can_ask:
            return None
        exchange = Exchange(candidate, source, hedge)
        self.exchanges.append(exchange)
        return exchange

    def hear(self, winner: Candidate | None, source: int, chunks: int) -> None:
        """More of the winner's answer has come."""
        if chunks:
            self.winner, self.source = winner, source
            self.chunks += chunks

    def spoke(self, now: float) -> None:
        """The caller hears words."""
        if self.first_spoken_at is None:
            self.first_spoken_at = now

    def output(self, now: float) -> None:
        """The caller gets something of the model's."""
        if self.first_model_output_at is None:
            self.first_model_output_at = now

    @property
    def text(self) -> str:
        """Everything that was spoken but buffer words."""
        return "".join(self.words)

    @property
    def answered(self) -> Exchange | None:
        """The exchange that brought the answer; of an agent's turn the last that brought any."""
        heard = [one for one in self.exchanges if one.headers_at is not None]
        won = (self.winner, self.source)
        best = [one for one in heard if (one.candidate, one.source) == won] or heard
        return best[-1] if best else None

    @property
    def hedges(self) -> int:
        """Requests made beside one that was slow."""
        return sum(one.hedge for one in self.exchanges)

    @property
    def retries(self) -> int:
        """Requests made after one that was of no use. With the first and the hedges that is all."""
        return max(0, len(self.exchanges) - 1 - self.hedges)

    def tokens(self, *names: str) -> int | None:
        """The sum of a count under any of its names over all answers that told it."""
        usages = [one.usage for one in self.exchanges if one.usage]
        return _sum(usage.get(name) for usage in usages for name in names)

    @property
    def cached_tokens(self) -> int | None:
        """How many of the input tokens the models had at hand already."""
        usages = [one.usage for one in self.exchanges if one.usage]
        details = [
            usage.get(name)
            for usage in usages
            for name in ("prompt_tokens_details", "input_tokens_details")
        ]
        return _sum(one.get("cached_tokens") for one in details if isinstance(one, dict))


def _sum(counts: Iterable[object]) -> int | None:
    known = [count for count in counts if isinstance(count, int) and 0 <= count < TOKENS_LIMIT]
    return sum(known) if known else None
