"""Publish the measured figures: all in docs/, the most important ones in the README.

Each page has two marks; this module writes the text between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure, table

ROOT = Path(__file__).parents[2]
BEGINS, ENDS = "<!-- make bench writes this -->", "<!-- to here -->"
README_ROWS = (
    ("added to first content, over uvicorn, model at 60 ms", "`elevenlabs-memorysync`, a relay"),
    (
        "added to first content, through URL, Runtime API and layer, model at 60 ms",
        "that one over uvicorn",
    ),
    ("CPU per 1,000 chunks, burst of 2,000", "that one"),
    ("CPU per 1,000 chunks, 2 ms apart", "that one"),
    ("cold start: process to first poll", "the same packages as usual, without bytecode"),
    ("cold first token: process to first content, model at 60 ms", "those"),
    (
        "restore to first content, secrets and model behind TLS, 30 ms away, model at 60 ms",
        "the least wait: the slower of secret and connection, and one round trip",
    ),
    (
        "first turn after POST …/warm, secrets and model behind TLS, 30 ms away, model at 60 ms",
        "a warm turn",
    ),
)
"""Rows of the README: the figure's name and its description."""


def publish(figures: Sequence[Figure], about: dict[str, Any], root: Path = ROOT) -> None:
    """Write the table into docs/benchmarks.md and its main rows into README.md."""
    listed = "\n".join(f"- {name}: {value}" for name, value in about.items())
    _write(root / "docs" / "benchmarks.md", f"{table(figures)}\n\n{listed}")
    _write(root / "README.md", _short(figures))


def _short(figures: Sequence[Figure]) -> str:
    """Return the README's rows, with ratios only, since milliseconds depend on the machine."""
    by_name = {figure.name: figure for figure in figures}
    lines = ["| | ours | at most | beside |", "|---|---|---|---|"]
    for name, beside in README_ROWS:
        figure = by_name.get(name)
        if figure is not None and figure.theirs is not None:
            limit = "" if figure.limit is None else f"{figure.limit:g} ×"
            lines.append(f"| {name} | {figure.shown_ratio} | {limit} | {beside} |")
    return "\n".join(lines)


def _write(page: Path, text: str) -> None:
    before, begins, rest = page.read_text().partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not ends:
        raise ValueError(f"{page.name} lacks the marks {BEGINS} and {ENDS}")
    page.write_text(f"{before}{begins}\n{text}\n{ends}{after}")
