"""Each question of a trial can be answered either way."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.doctor.wire import Exchange, Piece
from ops.trial.probe import DoctorResult, Place, Published
from ops.trial.question_table import NOT_ASKED, PROBES
from ops.trial.refusals import ODD_PATH

ROOT = Path(__file__).resolve().parents[4]


def came(
    status: int = 200,
    body: bytes = b"",
    *,
    at_ms: float = 5.0,
    ended_ms: float = 410.0,
    trouble: str = "",
    **headers: str,
) -> Exchange:
    """An answer whose body came in one piece."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    pieces = [Piece(at_ms, body)] if body else []
    return Exchange(
        1.0, status, named, pieces, at_ms if status else None, ended_ms, trouble=trouble
    )


@dataclass
class PlayedLab:
    """A lab in which every request gets the same answer."""

    answer: Exchange = field(default_factory=came)
    turns: Sequence[Exchange] = ()
    doctor: DoctorResult = field(
        default_factory=lambda: DoctorResult(usable=True, streams="stream", failed=())
    )
    lines: list[dict[str, Any]] = field(default_factory=list)
    sum: float | None = None
    published: Published = field(default_factory=lambda: Published("1", "2", True))
    rounds: int = 3
    snapshot: bool = True
    asked: list[tuple[Place, str]] = field(default_factory=list)

    def ask(
        self,
        place: Place,
        path: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        enough: Callable[[Sequence[Piece]], bool] | None = None,
    ) -> Exchange:
        self.asked.append((place, path))
        return self.answer

    def turn(self) -> Exchange:
        self.turns, turn = self.turns[1:], self.turns[0]
        return turn

    def run_doctor(self) -> DoctorResult:
        return self.doctor

    def log_lines(self, place: Place, words: str, *, wait: bool = True) -> list[dict[str, Any]]:
        return self.lines

    def metric(self, name: str) -> float | None:
        return self.sum

    def publish(self) -> Published:
        return self.published


AT_ONCE = PlayedLab(came(body=b"1"))
HELD_BACK = PlayedLab(came(body=b"1", at_ms=405.0))
DIED = PlayedLab(came(502, b"Internal Server Error"))
DIED_OTHERWISE = PlayedLab(came(500, b'{"message":"Internal Server Error"}'))
CUT = PlayedLab(came(body=b"1", trouble="cut"))
QUICK, SLOW = (came(body=b'"content":"Yes."', at_ms=ms) for ms in (300.0, 5000.0))
LINE = {
    "message": "turn.finished",
    "outcome": "ok",
    "first_token_ms": 1,
    "duration_ms": 2,
    "function_request_id": "r",
    "cold_start": True,
}
BOTH_WAYS: Mapping[str, tuple[PlayedLab, PlayedLab]] = {
    "restored": (PlayedLab(turns=(QUICK, QUICK)), PlayedLab(turns=(SLOW, QUICK))),
    "cold": (
        PlayedLab(turns=(QUICK, QUICK), snapshot=False),
        PlayedLab(turns=(SLOW, QUICK), snapshot=False),
    ),
    "doctor": (PlayedLab(), PlayedLab(doctor=DoctorResult(True, "lump", ()))),
    "gap-2": (AT_ONCE, HELD_BACK),
    "gap-0": (HELD_BACK, AT_ONCE),
    "gap-25": (AT_ONCE, HELD_BACK),
    "small-chunk": (AT_ONCE, HELD_BACK),
    "empty-302": (PlayedLab(came(302)), PlayedLab(came(302, trouble="timeout"))),
    "empty-204": (PlayedLab(came(204)), PlayedLab(came(0, trouble="timeout"))),
    "content-length": (
        PlayedLab(came(body=b"123456", x_amzn_remapped_content_length="6")),
        PlayedLab(came(body=b"123456")),
    ),
    "content-encoding": (
        PlayedLab(came(body=gzip.compress(b"123456"))),
        PlayedLab(came(body=gzip.compress(b"123456"), content_encoding="gzip")),
    ),
    "hang-up": (PlayedLab(came(body=b"0"), lines=[LINE]), PlayedLab(came(body=b"0"))),
    "502-streamed": (DIED, DIED_OTHERWISE),
    "502-buffered": (DIED, DIED_OTHERWISE),
    "cut-by-death": (CUT, AT_ONCE),
    "cut-by-trailers": (CUT, AT_ONCE),
    "429": (
        PlayedLab(came(429, b'{"Message":"Rate Exceeded."}')),
        PlayedLab(came(429, b'{"message":"Too Many Requests"}')),
    ),
    "413": (
        PlayedLab(came(413, b'{"Message":"Request Too Large"}')),
        PlayedLab(came(413, b"Payload Too Large")),
    ),
    "403": (
        PlayedLab(came(403, b'{"Message":"Forbidden"}')),
        PlayedLab(came(403, b"<html>no</html>")),
    ),
    "404": (
        PlayedLab(came(404, b'{"error":{"code":"not_found","message":"No such path"}}')),
        PlayedLab(came(404, b'{"Message":null}')),
    ),
    "paths": (
        PlayedLab(came(body=f'"{ODD_PATH}"'.encode())),
        PlayedLab(came(body='"/a/b/c/ä d+e"'.encode())),
    ),
    "dict-as-text": (
        PlayedLab(came(body=b'{"statusCode": 200, "body": "1"}')),
        PlayedLab(came(body=b"1")),
    ),
    "log-fields": (PlayedLab(lines=[LINE]), PlayedLab(lines=[{"message": "turn.finished"}])),
    "metrics": (PlayedLab(sum=3.0), PlayedLab()),
    "new-version": (PlayedLab(), PlayedLab(published=Published("1", "1", False))),
}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_question_can_be_answered_both_ways(probe: Any) -> None:
    """Each question has an answer that confirms the assumption and one that contradicts it."""
    yes, no = (probe.ask(lab) for lab in BOTH_WAYS[probe.name])
    assert (yes.verdict, no.verdict) == ("as assumed", "otherwise")
    assert yes.result != no.result


@pytest.mark.parametrize("name", ["restored", "cold", "small-chunk", "hang-up", "paths"])
def test_silence_is_no_answer(name: str) -> None:
    """Without an answer nothing is claimed."""
    (probe,) = (each for each in PROBES if each.name == name)
    nothing = came(0, trouble="refused")
    lab = PlayedLab(nothing, turns=(nothing, nothing), snapshot=name == "restored")
    assert probe.ask(lab).verdict == "cannot tell"


def test_an_empty_answer_that_ends_late_is_a_hang() -> None:
    """An empty answer that ends late counts as a hang."""
    (probe,) = (each for each in PROBES if each.name == "empty-204")
    assert probe.ask(PlayedLab(came(204, ended_ms=20_000.0))).verdict == "otherwise"


def test_a_start_that_was_not_made_is_not_measured() -> None:
    """If the second deployment failed, its cold start is not measured."""
    (cold,) = (each for each in PROBES if each.name == "cold")
    assert cold.ask(PlayedLab(turns=(QUICK, QUICK), snapshot=True)).verdict == "cannot tell"


def test_the_files_that_assume_something_exist() -> None:
    """The files named for each assumption exist."""
    assert all((ROOT / probe.assumed_in).exists() for probe in PROBES)
    assert len({probe.name for probe in PROBES}) == len(PROBES)


def test_gaps_are_measured_at_their_own_function() -> None:
    """Each gap has its own function, which gets the planned requests after one to wake it."""
    for name, place in (("gap-2", "Streamed"), ("gap-0", "NoGap"), ("gap-25", "LongGap")):
        (probe,) = (each for each in PROBES if each.name == name)
        lab = PlayedLab(came(body=b"1"), rounds=4)
        probe.ask(lab)
        assert lab.asked == [(place, "/event"), *[(place, "/first-then-rest")] * 4]


def test_unasked_questions_are_listed() -> None:
    """The report lists questions that no trial can ask, with a way to answer them."""
    assert all(question.endswith("?") and how for question, how in NOT_ASKED.items())
