"""Questions about a streamed answer: when its bytes come, and what happens to its headers."""

from __future__ import annotations

import gzip
import secrets
from statistics import median

from ops.doctor.wire import Exchange
from ops.trial.probe import Lab, Measured, Place

HELD_MS = 400.0
"""The time that apps/probe_app.py waits between the first piece and the rest."""
LATE_MS = HELD_MS / 2
HANGING_MS = 2000.0
REFERENCE = b"123456"


def _held_back(came: Exchange) -> bool:
    """Return True if the first piece came only with the rest, which was sent much later."""
    return not came.pieces or came.ended_ms - came.pieces[0].at_ms < LATE_MS


def _gap(lab: Lab, place: Place) -> tuple[int, str]:
    """Return how many first pieces were held back, also in words."""
    lab.ask(place, "/event")  # Without the one that meets a cold start.
    answers = [lab.ask(place, "/first-then-rest") for _ in range(lab.rounds)]
    held = sum(_held_back(came) for came in answers)
    first_ms = median(came.pieces[0].at_ms if came.pieces else came.ended_ms for came in answers)
    return held, f"{held} of {len(answers)} held back; first data after {first_ms:.0f} ms (median)"


def gap_of_2(lab: Lab) -> Measured:
    """Ask with the layer's own gap."""
    held, result = _gap(lab, "Streamed")
    return Measured(result, held == 0)


def gap_of_25(lab: Lab) -> Measured:
    """Ask with a gap that is longer than anybody wants."""
    held, result = _gap(lab, "LongGap")
    return Measured(result, held == 0)


def no_gap(lab: Lab) -> Measured:
    """Ask without a gap; if nothing is held back, the gap is not needed."""
    held, result = _gap(lab, "NoGap")
    return Measured(result, held > 0)


def one_small_chunk(lab: Lab) -> Measured:
    """See when a single byte arrives if nothing follows it for a while."""
    came = lab.ask("Streamed", "/first-then-rest")
    if not came.pieces:
        return Measured(f"nothing came: {came.trouble or came.status}", None)
    first = came.pieces[0]
    result = (
        f"{len(first.data)} byte(s) after {first.at_ms:.0f} ms, the end at {came.ended_ms:.0f} ms"
    )
    return Measured(result, first.data == b"1" and not _held_back(came))


def _empty(lab: Lab, status: int) -> Measured:
    came = lab.ask("Streamed", f"/empty?status={status}")
    length = came.headers.get("content-length", "none")
    end = came.trouble or "whole"
    result = f"{came.status}, {end} after {came.ended_ms:.0f} ms, content-length {length}"
    whole = came.status == status and not came.trouble and not came.body
    return Measured(result, whole and came.ended_ms < HANGING_MS)


def empty_302(lab: Lab) -> Measured:
    """Ask for a redirection without a body."""
    return _empty(lab, 302)


def empty_204(lab: Lab) -> Measured:
    """Ask for an answer without content."""
    return _empty(lab, 204)


def content_length(lab: Lab) -> Measured:
    """Ask for a streamed answer that names its length."""
    came = lab.ask("Streamed", "/length")
    names = ("content-length", "x-amzn-remapped-content-length")
    found = [f"{name}: {came.headers[name]}" for name in names if name in came.headers]
    whole = came.body == REFERENCE and not came.trouble
    result = f"{', '.join(found) or 'no length'}; the body is {'whole' if whole else 'not whole'}"
    return Measured(result, whole and bool(found))


def content_encoding(lab: Lab) -> Measured:
    """Ask for a compressed answer; if it can be read, `accept-encoding` need not be hidden."""
    came = lab.ask("Streamed", "/encoded", headers={"accept-encoding": "gzip"})
    named = came.headers.get("content-encoding", "none")
    try:
        readable = named == "gzip" and gzip.decompress(came.body) == REFERENCE
    except (OSError, EOFError):
        readable = False
    result = f"{came.status or came.trouble}, content-encoding {named}"
    return Measured(f"{result}; it can{'' if readable else 'not'} be read", not readable)


def hang_up(lab: Lab) -> Measured:
    """Leave after the first piece, then look in the log if the function ran to its end."""
    token = secrets.token_hex(8)
    came = lab.ask("Streamed", f"/beats?token={token}", enough=bool)
    if not came.pieces:
        return Measured(f"nothing came: {came.trouble or came.status}", None)
    ran = bool(lab.log_lines("Streamed", token))
    return Measured(f"the function {'ran to its end' if ran else 'was not seen to end'}", ran)
