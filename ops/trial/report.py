"""The report of a trial: a file that is complete after each answer, whatever happens next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from ops.trial.probe import Measured, Probe
from ops.trial.question_table import NOT_ASKED


@dataclass(slots=True)
class Report:
    """One trial's answers. Each call of `note` and `end` writes the file anew."""

    path: Path
    title: str
    facts: dict[str, str]
    """Where it was measured, for the reader."""
    answers: list[tuple[Probe, Measured]] = field(default_factory=list)
    state: str = "running, or crashed"
    left: list[str] | None = None
    """What could not be deleted; None before the attempt."""

    def note(self, probe: Probe, measured: Measured) -> None:
        """Add an answer."""
        self.answers.append((probe, measured))
        self.write()

    def end(self, state: str) -> None:
        """Record how it ended."""
        self.state = state
        self.write()

    def note_left(self, left: list[str]) -> None:
        """Record what is left in the account."""
        self.left = left
        self.write()

    def write(self) -> None:
        """Write all of it, in one step."""
        self.path.parent.mkdir(exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(self.text(), "utf-8")
        unfinished.replace(self.path)

    def text(self) -> str:
        """Return the report as Markdown."""
        counts = {"as assumed": 0, "otherwise": 0, "cannot tell": 0}
        for _, measured in self.answers:
            counts[measured.verdict] += 1
        facts = "".join(f"- {name}: {value}\n" for name, value in self.facts.items())
        rows = "".join(_row(probe, measured) for probe, measured in self.answers)
        open_questions = "".join(f"- {each} {why}\n" for each, why in NOT_ASKED.items())
        return (
            f"# {self.title}\n\n{facts}"
            f"- written: {time.strftime('%Y-%m-%d %H:%M:%S %z')}\n"
            f"- state: {self.state}\n- left in the account: {self._left()}\n"
            f"- answers: {', '.join(f'{n} {name}' for name, n in counts.items())}\n\n"
            "| question | we assume | measured | verdict | assumed in |\n|---|---|---|---|---|\n"
            f"{rows}\n## Not asked\n{open_questions}"
        )

    def _left(self) -> str:
        if self.left is None:
            return "not yet deleted"
        return "; ".join(_cell(each) for each in self.left) or "nothing"


def line(probe: Probe, measured: Measured) -> str:
    """Return an answer for the terminal."""
    return f"{measured.verdict:<12}{probe.name:<18}{' '.join(measured.result.split())}"


def _row(probe: Probe, measured: Measured) -> str:
    bold = f"**{measured.verdict}**" if measured.as_assumed is False else measured.verdict
    texts = (probe.question, probe.assumed, measured.result)
    cells = [*(_cell(text) for text in texts), bold, f"`{probe.assumed_in}`"]
    return f"| {' | '.join(cells)} |\n"


def _cell(text: str) -> str:
    printable = "".join(each if each.isprintable() else " " for each in text)
    return printable.replace("|", "\\|")
