"""The requests of one turn: at most three a question, hedges and retries included.

A model's turn is one question; an agent may ask several, within a limit for all of them. Counts
requests and sums what they cost; does not know what the answers say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from completions.settings import Candidate
from completions.upstream.exchange import Exchange

REQUESTS_LIMIT = 3
"""For one question."""
TOKENS_LIMIT = 1_000_000_000
"""A larger number is not a token count: metrics cannot hold every number that JSON can."""


@dataclass(slots=True, eq=False)
class Requests:
    """One turn's requests to models, or one question's, in the order in which they were made."""

    exchanges: list[Exchange] = field(default_factory=list)
    on_written: Callable[[], None] | None = None
    """Called when a request has been written to its connection."""
    limit: int = REQUESTS_LIMIT
    agent_began_at: float | None = None
    """When the turn's agent began to work, if it has one (loop time)."""
    agent_asked_at: float | None = None
    """When it asked its first question."""
    whole_turn: Requests | None = None
    """The turn's requests, if these are one question's; None if these are the turn's."""

    def of_one_question(self) -> Requests:
        """Return the requests of a further question; they count here as well."""
        return Requests(limit=REQUESTS_LIMIT, whole_turn=self)

    @property
    def left(self) -> int:
        """How many requests may still be made."""
        left = max(0, self.limit - len(self.exchanges))
        return left if self.whole_turn is None else min(left, self.whole_turn.left)

    def reserve(self, candidate: Candidate, source: int, *, hedge: bool) -> Exchange | None:
        """Count a request that will be made now and return its exchange; None if none is left."""
        if not self.left:
            return None
        exchange: Exchange | None
        if self.whole_turn is None:
            exchange = Exchange(candidate, source, hedge, on_written=self.on_written)
        else:
            exchange = self.whole_turn.reserve(candidate, source, hedge=hedge)
        if exchange is not None:
            exchange.first = not self.exchanges
            self.exchanges.append(exchange)
        return exchange

    def note_agent_began(self, now: float) -> None:
        """Note that the turn's agent begins to work, for the first time or again."""
        if self.agent_began_at is None:
            self.agent_began_at = now

    def note_agent_asked(self, now: float) -> None:
        """Note that the turn's agent asks a question."""
        if self.agent_asked_at is None:
            self.agent_asked_at = now

    @property
    def first_sent_at(self) -> float | None:
        """When the first request was written, or when an agent that made none began to work."""
        return self.exchanges[0].sent_at if self.exchanges else self.agent_began_at

    @property
    def agent_s(self) -> float:
        """How long an agent worked before its first question, in seconds."""
        if self.agent_began_at is None or self.agent_asked_at is None:
            return 0.0
        return self.agent_asked_at - self.agent_began_at

    def answered(self, winner: Candidate | None, source: int) -> Exchange | None:
        """Return the exchange that brought the answer.

        An agent's turn has no such request: there the last one that brought any answer counts.
        """
        heard = [one for one in self.exchanges if one.headers_at is not None]
        best = [one for one in heard if (one.candidate, one.source) == (winner, source)] or heard
        return best[-1] if best else None

    @property
    def hedges(self) -> int:
        """Requests made beside one that was slow."""
        return sum(one.hedge for one in self.exchanges)

    @property
    def retries(self) -> int:
        """Requests made after one that failed: neither a question's first nor hedges."""
        return sum(not (one.first or one.hedge) for one in self.exchanges)

    def tokens(self, *names: str) -> int | None:
        """Return the sum of a count, under any of its names, over all answers that have it."""
        usages = [one.usage for one in self.exchanges if one.usage]
        return _sum(usage.get(name) for usage in usages for name in names)

    @property
    def cached_tokens(self) -> int | None:
        """Input tokens that the models had cached."""
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
