"""A figure: measured for us and for a peer or a floor in the same run, with its limit.

Figures are shown as a row or as JSON. Only the ratio is meaningful, because both sides
were measured in turns on the same machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Measurements of one thing, in one unit."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The bounds of the middle half."""
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4)
        return low, high

    def minus(self, floor: float) -> Spread:
        """Return the same less a value that does not count."""
        return Spread(tuple(value - floor for value in self.values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. Without a peer the value itself is compared with limit and aim."""

    name: str
    unit: str
    ours: Spread
    limit: float | None = None
    """The limit; none if the row is only shown."""
    aim: float | None = None
    peer: str = ""
    theirs: Spread | None = None
    floors: dict[str, Spread | None] = field(default_factory=dict)
    """The floors, which do not read the bytes; None for one that is not installed."""
    also: dict[str, Spread] = field(default_factory=dict)
    """Others from the same run, for comparison."""

    @property
    def value(self) -> float:
        """The value for limit and aim: the ratio of medians, or the median without a peer."""
        if self.theirs is None:
            return self.ours.median
        return self.ours.median / self.theirs.median

    @property
    def shown_ratio(self) -> str:
        """The ratio in words; below 0 where what was taken off costs more than we add."""
        return f"{self.value:.2f} ×" if self.value >= 0 else "below 0"

    @property
    def verdict(self) -> str:
        """Whether it is good enough."""
        if self.limit is not None and self.value > self.limit:
            return "MISSED"
        if self.aim is not None and self.value <= self.aim:
            return "aim met"
        return "" if self.limit is None else "met"

    def as_json(self) -> dict[str, Any]:
        """Return the figure as JSON."""
        found = {name: each for name, each in self.floors.items() if each is not None}
        named = {"ours": self.ours, **found, **self.also}
        if self.theirs is not None:
            named[self.peer] = self.theirs
        return {
            "figure": self.name,
            "unit": self.unit,
            "value": round(self.value, 4),
            "of": self.peer or None,
            "limit": self.limit,
            "aim": self.aim,
            "verdict": self.verdict,
            "medians": {name: round(each.median, 4) for name, each in named.items()},
            "quartiles": {
                name: [round(one, 4) for one in each.quartiles] for name, each in named.items()
            },
            "measurements": {name: len(each.values) for name, each in named.items()},
        }


def spread(values: Iterable[float]) -> Spread:
    """Return the spread of these measurements."""
    return Spread(tuple(values))


def table(figures: Sequence[Figure]) -> str:
    """Return a Markdown table with a row for each figure."""
    lines = [
        "| figure | ours | beside | | at most | aim | | floors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        low, high = figure.ours.quartiles
        ours = f"{figure.ours.median:.3g} {figure.unit} ({low:.3g} to {high:.3g})"
        beside, value = "", ""
        if figure.theirs is not None:
            beside = f"{figure.peer} {figure.theirs.median:.3g}"
            value = figure.shown_ratio
        floors = ", ".join(_floor(figure, name, each) for name, each in figure.floors.items())
        lines.append(
            f"| {figure.name} | {ours} | {beside} | {value} | {_bound(figure, figure.limit)} |"
            f" {_bound(figure, figure.aim)} | {figure.verdict} | {floors} |"
        )
    return "\n".join(lines)


def _bound(figure: Figure, bound: float | None) -> str:
    if bound is None:
        return ""
    return f"{bound:g} ×" if figure.theirs else f"{bound:g}"


def _floor(figure: Figure, name: str, floor: Spread | None) -> str:
    if floor is None:
        return f"{name}: not here"
    if figure.theirs is None:
        return f"{name} {floor.median:.3g}"
    return f"{name} {floor.median / figure.theirs.median:.2f} ×"
