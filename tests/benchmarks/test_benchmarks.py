"""The benchmarks run, and slow servers miss their limits; `make bench` measures for real."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.benchmarks import (
    at_once,
    cold_start,
    far,
    first_turns,
    lambda_path,
    package,
    publish,
    relay,
)
from tests.benchmarks.figures import Figure, Spread, spread, table
from tests.benchmarks.process import Caller, Heard, Pace, Process
from tests.support.built import FUNCTION

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="processor time and memory are read in /proc"
    ),
]
SLOW = Path(__file__).with_name("slow.py")


async def test_every_server_is_measured() -> None:
    """Each server relays each answer whole, and each figure has our value and the peer's."""
    peers = {relay.VENDOR: sys.executable}
    figures = await relay.measure(peers, requests=2, bursts=1)
    assert len(figures) == 5
    for figure in figures:
        assert figure.ours.values
        assert relay.VENDOR in figure.as_json()["medians"]
        assert figure.floors[relay.BARE]
    assert figures[-1].theirs is not None
    assert len(table(figures).splitlines()) == 7


def test_without_its_peer_a_row_has_no_limit() -> None:
    """A limit applies to the ratio to a peer, so a row without its peer is not judged."""
    alone = relay.figure("f", "ms", {"ours": spread([63])}, relay.PEER, limit=1.25, aim=1.0)
    assert (alone.limit, alone.verdict) == (None, "")


async def test_a_missing_floor_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without nginx its floor is left out, and both the run and the table say so."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert relay.NGINX not in relay.servers("http://127.0.0.1:9/v1", {})
    assert "no nginx here" in capsys.readouterr().out
    assert "nginx: not here" in table([Figure("f", "ms", spread([1]), floors={"nginx": None})])


async def test_the_path_through_lambda_is_measured() -> None:
    """Our function, the canned answer and the model itself are asked, after a restore too."""
    beside: dict[int, Spread | None] = {0: spread([1.0]), 60: spread([1.0])}
    quick, slow = await lambda_path.added(beside, "one", requests=2)
    assert len(quick.ours.values) == 2
    assert (quick.limit, slow.limit) == (None, 0.55)
    _, restored = await lambda_path.restore(rounds=1, built=False)
    assert restored.ours.median > 60


async def test_a_first_turn_is_measured_far_away() -> None:
    """All rows are measured, and the minimum wait is three round trips or more."""
    figures = await first_turns.measure(rounds=1, built=False)
    assert len(figures) == 7
    for figure in figures[:2]:
        assert figure.theirs is not None
        assert figure.theirs.median > 4 * far.ROUND_TRIP_S * 1000
    # A new environment opens its connections again.
    assert figures[4].ours.median > figures[6].ours.median


async def test_a_slow_turn_misses_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of first turns with a limit misses it if our first turns are slow."""
    ask, asked = Caller.ask, set[Caller]()

    async def slow_at_first(self: Caller, words: int, pace: Pace | None = None) -> Heard:
        heard = await ask(self, words, pace)
        if self.tls is None and self not in asked:
            asked.add(self)
            heard.first_s += 1
        return heard

    monkeypatch.setattr(Caller, "ask", slow_at_first)
    figures = await first_turns.measure(rounds=1, built=False)
    judged = [figure for figure in figures if figure.limit is not None]
    assert len(judged) == 4
    assert {figure.verdict for figure in judged} == {"MISSED"}


async def test_a_slow_server_misses_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row over uvicorn misses its limit if our server is slow."""
    servers = relay.servers

    def ours_behind_a_long_line(url: str, interpreters: Mapping[str, str]) -> dict[str, Process]:
        slow = Process(sys.executable, str(relay.HERE / "serve.py"), str(SLOW), UPSTREAM=url)
        return {**servers(url, interpreters), "ours": slow}

    monkeypatch.setattr(relay, "servers", ours_behind_a_long_line)
    peers = {relay.VENDOR: sys.executable}
    monkeypatch.setattr(relay, "PEER", relay.VENDOR)
    _, figure, *_ = await relay.measure(peers, requests=4, bursts=1)
    assert figure.limit == 0.8
    assert figure.verdict == "MISSED"


async def test_many_streams_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stream ends, and its gaps are measured."""
    monkeypatch.setattr(at_once, "STREAMS", (4,))
    memory, gaps = await at_once.measure(rounds=1)
    assert memory.value > 0.5
    assert gaps.value > 10


@pytest.mark.built
async def test_cold_starts_are_measured(tmp_path: Path) -> None:
    """The built package and the usual one both reach their first word."""
    # With our own packages, since the benchmarks install theirs.
    (tmp_path / "usual").symlink_to(FUNCTION)
    polls, *words = await cold_start.measure(starts=1, packages=tmp_path)
    assert [len(figure.ours.values) for figure in (polls, *words)] == [1, 1, 1]
    assert package.measure().value > 1


def test_a_figure_is_judged_by_its_ratio() -> None:
    """Limit and aim apply to the ratio of medians, or without a peer to the value."""
    figure = Figure("f", "ms", spread([1, 2, 9]), 0.6, 0.4, "peer", spread([4]))
    assert (figure.value, figure.verdict) == (0.5, "met")
    assert Figure("f", "ms", spread([0.3]), 0.6, 0.4).verdict == "aim met"
    assert Figure("f", "ms", spread([0.7]), 0.6, 0.4).verdict == "MISSED"
    assert Figure("f", "ms", spread([0.7])).verdict == ""
    assert Figure("f", "ms", spread([0.7]), None, 0.8).verdict == "aim met"


def test_a_run_is_published_in_both_pages(tmp_path: Path) -> None:
    """Only the text between the marks is replaced, in the README by ratios."""
    (tmp_path / "docs").mkdir()
    pages = tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"
    for page in pages:
        page.write_text(f"before\n{publish.BEGINS}\nold\n{publish.ENDS}\nafter\n")
    name = publish.README_ROWS[0][0]
    figure = Figure(name, "ms", spread([3]), 0.8, 0.7, "memorysync", spread([4]))
    publish.publish([figure], {"python": "3.13"}, tmp_path)
    readme, docs = (page.read_text() for page in pages)
    assert f"| {name} | 0.75 × | 0.8 × |" in readme
    assert f"| {name} | 3 ms (3 to 3) | memorysync 4 | 0.75 × | 0.8 × | 0.7 × | met |  |" in docs
    for text in (readme, docs):
        assert text.startswith("before\n")
        assert text.endswith("\nafter\n")
        assert "old" not in text


def test_both_pages_have_the_marks() -> None:
    """Both pages have the marks for publishing."""
    for page in ("README.md", "docs/benchmarks.md"):
        text = (publish.ROOT / page).read_text()
        assert text.index(publish.BEGINS) < text.index(publish.ENDS)


def test_a_missed_limit_is_visible() -> None:
    """A missed limit shows in the table and in the JSON."""
    good = Figure("f", "ms", spread([3]), 0.8, 0.7, "peer", spread([4]))
    bad = dataclasses.replace(good, ours=spread([4]))
    assert "MISSED" not in table([good])
    assert "MISSED" in table([bad])
    assert bad.as_json()["verdict"] == "MISSED"
