"""A figure: what was measured of us and of a peer or floor in the same run, beside its limit.

Knows how figures are told: as a row, as JSON. Only the ratio of a figure means anything, because
both sides of it were measured in turns, on the same machine.
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
        """Between these two lies the middle half."""
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4)
        return low, high

    def minus(self, floor: float) -> Spread:
        """The same without what is not to be counted."""
        return Spread(tuple(value - floor for value in self.values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. Without a peer the value itself is held against limit and aim."""

    name: str
    unit: str
    ours: Spread
    limit: float
    aim: float
    peer: str = ""
    theirs: Spread | None = None
    also: dict[str, Spread] = field(default_factory=dict)
    """Others in the same run, for comparison."""

    @property
    def value(self) -> float:
        """What limit and aim are about: the ratio of medians, or the median where nobody is."""
        if self.theirs is None:
            return self.ours.median
        return self.ours.median / self.theirs.median

    @property
    def verdict(self) -> str:
        """Whether it is good enough."""
        if self.value <= self.aim:
            return "aim met"
        return "met" if self.value <= self.limit else "MISSED"

    def as_json(self) -> dict[str, Any]:
        """All there is to know."""
        named = {"ours": self.ours, **self.also}
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
    """Of these measurements."""
    return Spread(tuple(values))


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table, a row a figure."""
    lines = [
        "| figure | ours | beside | | at most | aim | |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        low, high = figure.ours.quartiles
        ours = f"{figure.ours.median:.3g} {figure.unit} ({low:.3g} to {high:.3g})"
        sign = " ×" if figure.theirs else ""
        beside, value = "", ""
        if figure.theirs is not None:
            beside = f"{figure.peer} {figure.theirs.median:.3g}"
            value = f"{figure.value:.2f}{sign}"
        lines.append(
            f"| {figure.name} | {ours} | {beside} | {value} | {figure.limit:g}{sign} |"
            f" {figure.aim:g}{sign} | {figure.verdict} |"
        )
    return "\n".join(lines)
