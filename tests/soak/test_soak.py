"""The soak finds no fault, is repeatable, and notices bugs that are put back."""

from __future__ import annotations

from collections import Counter

import pytest

from completions.quirks.quirks import Quirks
from completions.race import winner
from completions.settings import Candidate
from completions.speech.scanner import Scanner
from completions.speech.text_parts import Part
from completions.turn import plan
from completions.turn.pauses import PauseCover
from tests.soak.kinds.table import KINDS
from tests.soak.known import KNOWN
from tests.soak.soak import Plan, run
from tests.soak.summary import Summary

SEED = 20_261_128
TURNS = 2000


def names(summary: Summary) -> Counter[str]:
    """Count the violations by name."""
    return Counter(violation.name for violation in summary.violations)


def test_callers_notice_no_fault_of_the_upstream() -> None:
    """Turns of all kinds, many at once, keep every promise and leave nothing behind."""
    summary = run(Plan(TURNS, SEED))
    print(summary.table())
    print(summary.verdict())
    assert not summary.violated
    assert not summary.growth
    assert summary.turns.total() >= TURNS
    assert len(summary.turns) >= 100


def test_every_known_kind_exists() -> None:
    """Every kind that is listed as known is played."""
    assert KNOWN.keys() <= KINDS.keys()


def test_a_seed_repeats_a_run() -> None:
    """The same seed plays the same turns with the same outcomes."""
    one, other = (run(Plan(60, 7, sockets=False)) for _ in range(2))
    assert one.outcomes == other.outcomes
    assert one.outcomes != run(Plan(60, 8, sockets=False)).outcomes


# Serious past bugs, put back one by one.


def test_a_wrong_lesson_that_lasts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing tag without an opening one must not silence later turns."""
    learnt: set[tuple[int, Candidate]] = set()

    def learn(quirks: Quirks, model: Candidate, *, began_inside: bool = True) -> None:
        if began_inside:
            learnt.add((id(quirks), model))

    def guess_chars(quirks: Quirks, model: Candidate) -> int:
        return 1_000_000 if (id(quirks), model) in learnt else 0

    def nothing(scanner: Scanner) -> list[Part]:
        return []

    monkeypatch.setattr(Quirks, "learn_thinks_first", learn)
    monkeypatch.setattr(Quirks, "guess_chars", guess_chars)
    monkeypatch.setattr(Scanner, "_spoken_after_all", nothing)
    summary = run(Plan(120, SEED, "</think", sockets=False, known=False))
    found = names(summary)
    assert found["an empty turn"] or found["the answer was not heard"]
    assert any(violation.healthy for violation in summary.violations)


def test_a_silence_with_wordless_frames_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames without words must not keep a silent answer alive."""
    drips = Plan(120, SEED, "amid words", sockets=False)
    assert not names(run(drips))["silence"]
    saw = winner._Watchdog.saw
    monkeypatch.setattr(
        winner._Watchdog, "saw", lambda self, life: saw(self, winner.LifeSign.SPOKEN)
    )
    assert names(run(drips))["silence"] > 10


def test_a_silence_after_a_bridge_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bridge the next answer may be late, and its silence is limited like any other."""
    bridges = Plan(120, SEED, "behind a bridge", sockets=False)
    assert not names(run(bridges))

    def stop(self: PauseCover, *, between_answers: bool = False) -> None:
        self.stop()

    monkeypatch.setattr(PauseCover, "start", stop)
    assert names(run(bridges))["silence"]


def test_a_retry_without_a_wait_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short failure of the upstream must not fail a turn that has time left."""
    blips = Plan(120, SEED, "away for", sockets=False)
    assert not names(run(blips))
    monkeypatch.setattr(plan, "RETRY_WAITS_S", ())
    found = names(run(blips))
    assert found["no answer"] > 10
    assert found["asked again at once"] > 10
