"""Questions about the deployed server: its starts, its versions, its log and its metrics."""

from __future__ import annotations

from typing import Any

from ops.doctor.wire import Exchange
from ops.trial.probe import Lab, Measured

PATIENCE_MS = 4000.0
"""How long voice platforms wait for the first words."""
FIELDS = ("outcome", "first_token_ms", "duration_ms", "function_request_id", "cold_start")
WORDS = b"Yes"


def _words_ms(came: Exchange) -> float | None:
    """When the played model's word arrived."""
    heard = b""
    for piece in came.pieces:
        heard += piece.data
        if WORDS in heard:
            return piece.at_ms
    return None


def _first_turn(lab: Lab, *, snapshot: bool) -> Measured:
    if lab.snapshot is not snapshot:
        return Measured("the server does not run with that SnapStart setting", None)
    kind = "from a snapshot" if snapshot else "without a snapshot"
    first, later = lab.turn(), lab.turn()
    first_ms, later_ms = _words_ms(first), _words_ms(later)
    if first_ms is None:
        return Measured(f"no word came: {first.status} {first.trouble}", None)
    warm = "none came" if later_ms is None else f"{later_ms:.0f} ms"
    result = f"first words {kind} after {first_ms:.0f} ms, of the next turn: {warm}"
    return Measured(result, first_ms < PATIENCE_MS)


def restored(lab: Lab) -> Measured:
    """Play the first turn after a deployment with SnapStart."""
    return _first_turn(lab, snapshot=True)


def cold(lab: Lab) -> Measured:
    """Play the first turn after a deployment without SnapStart."""
    return _first_turn(lab, snapshot=False)


def doctor(lab: Lab) -> Measured:
    """Let the doctor judge the deployed server."""
    found = lab.run_doctor()
    failed = f"; failed: {', '.join(found.failed)}" if found.failed else ""
    result = f"{'usable' if found.usable else 'not usable'}, seen as {found.streams or '?'}{failed}"
    return Measured(result, found.usable and found.streams == "stream")


def log_fields(lab: Lab) -> Measured:
    """Look for a turn's line in the log group."""
    lines = lab.log_lines("Server", "turn.finished")
    if not lines:
        return Measured("no such line came in time", False)
    missing = [name for name in FIELDS if name not in lines[0]]
    starts = [
        f"{name} {value}"
        for line in lab.log_lines("Server", "platform.report", wait=False)
        for name, value in _metrics(line).items()
        if name in {"initDurationMs", "restoreDurationMs"}
    ]
    result = f"{len(lines)} lines; missing: {', '.join(missing) or 'nothing'}"
    return Measured("; ".join([result, *sorted(set(starts))[:4]]), not missing)


def _metrics(line: dict[str, Any]) -> dict[str, Any]:
    record = line.get("record")
    metrics = record.get("metrics") if isinstance(record, dict) else None
    return metrics if isinstance(metrics, dict) else {}


def metrics(lab: Lab) -> Measured:
    """Look for the metrics that CloudWatch made from the log."""
    turns = lab.metric("Turns")
    result = "no metric Turns came in time" if turns is None else f"Turns: {turns:.0f}"
    return Measured(result, bool(turns))


def new_version(lab: Lab) -> Measured:
    """Deploy again with changed parameters, and look where the alias points."""
    made = lab.publish()
    runs = "runs the new values" if made.parameter_is_new else "runs the old values"
    result = f"version {made.before}, then {made.after}, which {runs}"
    return Measured(result, made.before != made.after and made.parameter_is_new)
