"""What a question to AWS is, and the means to ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ops.doctor.wire import Exchange, Piece

Place = Literal[
    "Streamed", "NoGap", "LongGap", "Buffered", "Bare", "Closed", "Private", "Model", "Server"
]
"""The target of a request: a function of template.yaml here, or the deployed server."""
Verdict = Literal["as assumed", "otherwise", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Measured:
    """An answer: words with figures, and whether it is what we assume; None if that is unclear."""

    result: str
    as_assumed: bool | None

    @property
    def verdict(self) -> Verdict:
        """The answer in two words."""
        if self.as_assumed is None:
            return "cannot tell"
        return "as assumed" if self.as_assumed else "otherwise"


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """The result of a run of the doctor."""

    usable: bool
    streams: str
    """`stream`, `lump`, `unknown`, or empty if the run ended earlier."""
    failed: Sequence[str]
    """The rows that failed."""


@dataclass(frozen=True, slots=True)
class Published:
    """A deployment with a changed parameter: versions behind the alias, and what it now runs."""

    before: str
    after: str
    parameter_is_new: bool


class Lab(Protocol):
    """The means to ask the questions."""

    @property
    def rounds(self) -> int:
        """How often to repeat a question whose answer may vary."""

    @property
    def snapshot(self) -> bool:
        """Whether the server's environments start from a snapshot now."""

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
        """Make one request on a new connection."""

    def turn(self) -> Exchange:
        """Play one streamed turn against the server."""

    def run_doctor(self) -> DoctorResult:
        """Run the doctor against the server."""

    def log_lines(self, place: Place, words: str, *, wait: bool = True) -> list[dict[str, Any]]:
        """Return the log's JSON lines with these words; wait for them if necessary."""

    def metric(self, name: str) -> float | None:
        """Wait for one of the server's metrics and return its sum; None if there is none."""

    def publish(self) -> Published:
        """Deploy the server again: SnapStart off, another model's name."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. `assumed_in` is the file that would have to change."""

    name: str
    question: str
    assumed: str
    assumed_in: str
    ask: Callable[[Lab], Measured]
