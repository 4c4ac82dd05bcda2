"""How a run is shown: a table for people, JSON for machines, and the verdict of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops.doctor.causes import CAUSES
from ops.doctor.checks import CheckRun, Finding

MARKS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "-"}
_ROW = "{:<5}{:<25}{:>9} {:>9}  {}"
HEADING = _ROW.format("", "tried", "byte ms", "words ms", "came back")
CAME_BACK_CHARACTERS = 100
PLACES = 3


def row(finding: Finding) -> str:
    """One line of the table."""
    came_back = "".join(c if c.isprintable() else "?" for c in finding.came_back)
    if len(came_back) > CAME_BACK_CHARACTERS:
        came_back = came_back[: CAME_BACK_CHARACTERS - 1] + "…"
    return _ROW.format(
        MARKS[finding.result],
        finding.name,
        _ms(finding.first_byte_ms),
        _ms(finding.first_words_ms),
        came_back,
    ).rstrip()


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def usable(findings: Sequence[Finding]) -> bool:
    """Return True if a voice agent can use the URL: nothing failed or was left untried."""
    return bool(findings) and all(each.result in {"ok", "warning"} for each in findings)


def causes(findings: Sequence[Finding]) -> str:
    """List each cause once, failures first: where it was seen, why, and what to do."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for finding in findings:
        for trouble in finding.troubles:
            seen.setdefault(trouble.cause, []).append((finding.name, trouble.detail))
    blocks = []
    for name in sorted(seen, key=lambda name: CAUSES[name].warning):
        cause, places = CAUSES[name], seen[name]
        where = ", ".join(place for place, _ in places[:PLACES])
        if more := len(places[PLACES:]):
            where += f" and {more} more"
        blocks.append(
            f"{'warning' if cause.warning else 'FAILED'}  {where}"
            + (f"\n  seen    {_printable(places[0][1])}" if places[0][1] else "")
            + f"\n  cause   {cause.why}\n  remedy  {cause.remedy}\n"
        )
    return "\n".join(blocks)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def verdict(run: CheckRun, findings: Sequence[Finding], *, whole: bool) -> str:
    """Return the last line."""
    url = run.address.base_url
    if not whole:
        return f"Stopped. This much was seen of {url}."
    if usable(findings):
        return f"A voice agent can use {url}"
    return f"A voice agent cannot use {url}"


def as_json(run: CheckRun, findings: Sequence[Finding], *, whole: bool) -> dict[str, Any]:
    """Return everything for machines. Times in ms; null for what was not seen."""
    return {
        "url": run.address.base_url,
        "usable": usable(findings) if whole else None,
        "streams": run.streaming and {"verdict": run.streaming.verdict, "why": run.streaming.why},
        "cold_start": run.cold_start and {"met": run.cold_start.met, "why": run.cold_start.why},
        "checks": [
            {
                "tried": each.name,
                "result": each.result,
                "came_back": each.came_back,
                "first_byte_ms": _rounded(each.first_byte_ms),
                "first_words_ms": _rounded(each.first_words_ms),
                "troubles": [
                    {
                        "cause": trouble.cause,
                        "detail": trouble.detail,
                        "warning": CAUSES[trouble.cause].warning,
                        "why": CAUSES[trouble.cause].why,
                        "remedy": CAUSES[trouble.cause].remedy,
                    }
                    for trouble in each.troubles
                ],
            }
            for each in findings
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
