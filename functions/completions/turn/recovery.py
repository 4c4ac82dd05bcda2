"""What follows an unusable answer: another question, and to whom, or the end.

The same for streamed, buffered and agents' turns. Each remedy is tried once a turn.
Knows answers and candidates, but no timers, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from completions.dialects.deltas import Call
from completions.observability import identifier, log
from completions.race.attempts import Askable, EmptyAnswer
from completions.settings import Candidate
from completions.speech.sentences import first_sentence_ended
from completions.tools.held_calls import Judgement
from completions.turn.plan import ANSWER_NEEDS_S
from completions.turn.record import TurnRecord


@dataclass(slots=True)
class Recovery:
    """One turn's remedies: those already used, and the calls that were kept."""

    record: TurnRecord
    gave_feedback: bool = False
    """The model has been told what is wrong with its calls."""
    asked_after_empty: bool = False
    bridged: bool = False
    """A bridge has been spoken after a cut in the first sentence."""
    kept: list[Call] = field(default_factory=list)
    """Valid calls of an answer whose other calls were asked for again."""

    def can_give_feedback(self, question: Askable, left_s: float) -> bool:
        """Return True if the model may still be told what is wrong with its calls."""
        return not self.gave_feedback and question.can_ask and left_s >= ANSWER_NEEDS_S

    def give_feedback(self, question: Askable, judgement: Judgement, spoken: str) -> Askable:
        """Return the question that tells the model what is wrong, after it said `spoken`."""
        self.gave_feedback = True
        self.record.tool_repairs += judgement.coerced + len(judgement.problems)
        self.kept += judgement.calls
        log.info("call.reasked", problems=len(judgement.problems))
        return question.with_feedback(spoken, judgement.feedback)

    def after_empty(
        self, empty: EmptyAnswer, question: Askable, candidates: Sequence[Candidate]
    ) -> list[Candidate]:
        """Return whom to ask again after an empty answer; nobody the second time."""
        if self.asked_after_empty:
            return []
        self.asked_after_empty = True
        log.info("answer.silent", candidate=empty.candidate.key, reason=identifier(empty.reason))
        if not question.can_ask:
            return []
        others = [one for one in candidates if one != empty.candidate]
        # The same model would hit its limit, or its filter, again.
        final = empty.reason in {"length", "content_filter"}
        return others if final else [*others, empty.candidate]

    def take_bridge(self, spoken: str) -> bool:
        """Use up the turn's bridge; return False if it is gone or the first sentence is over."""
        if self.bridged or first_sentence_ended(spoken):
            return False
        self.bridged = True
        return True


def after_feedback(candidates: Sequence[Candidate], winner: Candidate | None) -> list[Candidate]:
    """Return whom to ask after feedback: first the model that made the calls."""
    return sorted(candidates, key=lambda one: one != winner)


def after_cut(
    candidates: Sequence[Candidate], winner: Candidate | None, barred: Collection[Candidate]
) -> list[Candidate]:
    """Return whom to ask after a cut: the one that was cut last, those that just refused never."""
    willing = [one for one in candidates if one not in barred] or candidates
    return sorted(willing, key=lambda one: one == winner)
