"""What the caller got in a turn, noted as it happens.

One record a turn, from the plan to the last byte; `report` turns it into the log line and the
metrics. Moments are the event loop's time, in seconds. Decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from completions.settings import Candidate


class Outcome(StrEnum):
    """How a turn ended: a closed set, for the log line and for the metric's dimension.

    `error.type` says what went wrong: that set is as open as the models' own errors.
    """

    OK = "ok"
    """The model's answer, to its end."""
    HUNG_UP = "hung_up"
    """The caller left first, which is not an error."""
    EMPTY = "empty"
    """No word and no call came, so `skip_turn` was called or a pause was sent."""
    BRIDGED = "bridged"
    """Cut in its first sentence; after a short bridge another complete answer followed."""
    CUT = "cut"
    """An answer broke off; a closing sentence, a whole call or an error event ended it."""
    APOLOGY = "apology"
    """No usable answer: the failure sentence was spoken."""
    ERROR = "error"
    """No answer: an error status, or an error event after buffer words."""
    REFUSED = "refused"
    """The request was refused before its turn began."""
    CRASHED = "crashed"
    """A bug of ours, or the turn was stopped from outside before its end."""

    @property
    def failed(self) -> bool:
        """True for outcomes that count as failures: the caller did not get what was asked for."""
        return self in _FAILED


_FAILED = {Outcome.CUT, Outcome.APOLOGY, Outcome.ERROR, Outcome.REFUSED, Outcome.CRASHED}


@dataclass(slots=True, eq=False)
class TurnRecord:
    """One turn's facts so far."""

    winner: Candidate | None = None
    """Who answered; the last one if several did."""
    source: int = 0
    """The number of the attempt whose answer that was."""
    chunks: int = 0
    """Chunks of all answers that were passed on or held, without those of losers."""

    # What the caller got.
    words: list[str] = field(default_factory=list)
    """The model's words, and our bridge between two answers, but no buffer words."""
    first_model_output_at: float | None = None
    """When the model's first word, or its first whole call, was passed on."""
    first_spoken_at: float | None = None
    """When the first words were passed on, ours or the model's."""
    buffer_words_count: int = 0
    """How many times buffer words were spoken."""
    last_buffer_words: str | None = None
    buffer_words_said_at: float = 0.0
    """When the last ones were spoken."""
    called: list[str] = field(default_factory=list)
    """The names of the tool calls that were delivered."""
    tool_repairs: int = 0
    """Calls that did not fit their schema: coerced here, or asked for again."""

    # How it ended.
    outcome: Outcome | None = None
    error_type: str = ""
    finish: str = ""

    def heard(self, winner: Candidate | None, source: int, chunks: int) -> None:
        """Count more chunks of the winner's answer."""
        if chunks:
            self.winner, self.source = winner, source
            self.chunks += chunks

    def spoke(self, now: float) -> None:
        """Note that the caller hears words."""
        if self.first_spoken_at is None:
            self.first_spoken_at = now

    def said_buffer_words(self, phrase: str, now: float) -> None:
        """Note that the caller hears buffer words."""
        self.buffer_words_count += 1
        self.last_buffer_words = phrase
        self.buffer_words_said_at = now
        self.spoke(now)

    def model_spoke(self, now: float) -> None:
        """Note that the caller gets something of the model's."""
        if self.first_model_output_at is None:
            self.first_model_output_at = now

    @property
    def text(self) -> str:
        """Everything that was spoken except buffer words."""
        return "".join(self.words)
