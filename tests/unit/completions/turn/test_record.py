"""The record of a turn: what the caller got, and how it ended."""

from __future__ import annotations

from completions.settings import Candidate
from completions.turn.record import Outcome, TurnRecord

WINNER = Candidate("upstream", "http://a.invalid/v1")


def test_the_first_moments_are_kept() -> None:
    """Later words do not move them."""
    record = TurnRecord()
    for moment in (1.0, 2.0):
        record.spoke(moment)
        record.model_spoke(moment + 5)
    assert (record.first_spoken_at, record.first_model_output_at) == (1.0, 6.0)


def test_the_winner_is_the_last_candidate_heard() -> None:
    """A batch without chunks does not change it; the chunks of all answers are counted."""
    record = TurnRecord()
    record.heard(None, 0, 0)
    record.heard(WINNER, 1, 3)
    record.heard(None, 0, 0)
    assert (record.winner, record.source, record.chunks) == (WINNER, 1, 3)
    record.heard(WINNER, 2, 2)
    assert (record.source, record.chunks) == (2, 5)


def test_the_text_is_all_that_was_spoken_except_buffer_words() -> None:
    """It joins the words of all answers and of the bridge between them."""
    record = TurnRecord(words=["It is", "... Once more: ", "Sunny."], last_buffer_words="Hm... ")
    assert record.text == "It is... Once more: Sunny."


def test_some_outcomes_count_as_failures() -> None:
    """These left the caller without an answer; a hang-up and an empty answer are not failures."""
    failed = {outcome.value for outcome in Outcome if outcome.failed}
    assert failed == {"cut", "apology", "error", "refused", "crashed"}


def test_an_outcome_is_one_word() -> None:
    """A metric's dimension then needs no quoting."""
    assert all(outcome.isidentifier() for outcome in Outcome)
