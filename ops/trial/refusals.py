"""Questions about answers that AWS gives instead of the function, and about paths."""

from __future__ import annotations

import json

from ops.doctor import diagnosis
from ops.doctor.wire import Exchange
from ops.trial.probe import Lab, Measured

TOO_MUCH = b"x" * (6 * 1024 * 1024 + 1)
ODD_PATH = "/a%2Fb//c/%C3%A4%20d+e"
SHOWN_CHARACTERS = 80


def _shown(came: Exchange) -> str:
    body = came.body[:SHOWN_CHARACTERS].decode("utf-8", "replace")
    kind = came.headers.get("x-amzn-errortype", "")
    end = f", then {came.trouble}" if came.trouble and came.status else ""
    return f"{came.status or came.trouble}{f' {kind}' if kind else ''}: {body!r}{end}"


def _is_502(came: Exchange) -> Measured:
    same = came.status == 502 and came.body.strip() == b"Internal Server Error"
    return Measured(_shown(came), same)


def streamed_502(lab: Lab) -> Measured:
    """Let a function die before it answers, on a URL that streams."""
    return _is_502(lab.ask("Streamed", "/crash"))


def buffered_502(lab: Lab) -> Measured:
    """Let a function die on a URL that does not stream."""
    return _is_502(lab.ask("Buffered", "/crash"))


def _is_cut(came: Exchange) -> Measured:
    return Measured(_shown(came), came.status == 200 and came.trouble == "cut")


def cut_by_death(lab: Lab) -> Measured:
    """Let a function die in mid-answer."""
    return _is_cut(lab.ask("Streamed", "/crash-after"))


def cut_by_trailers(lab: Lab) -> Measured:
    """Let an application fail in mid-answer, so that the layer ends it with error trailers."""
    return _is_cut(lab.ask("Streamed", "/raise-after"))


def _is_refused(came: Exchange, status: int, message: str, cause: str) -> Measured:
    try:
        aws_message = json.loads(came.body).get("Message")
    except (ValueError, AttributeError):
        aws_message = None
    seen = diagnosis.of_status(came).cause if came.status else came.trouble
    result = f"{_shown(came)}; the doctor says {seen}"
    return Measured(result, (came.status, aws_message, seen) == (status, message, cause))


def throttled_429(lab: Lab) -> Measured:
    """Ask a function without free concurrency."""
    return _is_refused(lab.ask("Closed", "/event"), 429, "Rate Exceeded.", "throttled")


def too_large_413(lab: Lab) -> Measured:
    """Send one byte more than 6 MB."""
    came = lab.ask("Streamed", "/event", method="POST", body=TOO_MUCH)
    return _is_refused(came, 413, "Request Too Large", "too_large")


def forbidden_403(lab: Lab) -> Measured:
    """Ask a URL that requires a signature, without one."""
    came = lab.ask("Private", "/event")
    seen = diagnosis.of_status(came).cause if came.status else came.trouble
    return Measured(f"{_shown(came)}; the doctor says {seen}", seen == "aws_forbidden")


def our_404(lab: Lab) -> Measured:
    """Ask the server for a path that it does not have."""
    came = lab.ask("Server", "/v1/nowhere")
    seen = diagnosis.of_status(came).cause if came.status else came.trouble
    ours = came.status == 404 and diagnosis.is_error_object(came)
    return Measured(f"{_shown(came)}; the doctor says {seen}", ours and seen == "path_unknown")


def paths_as_sent(lab: Lab) -> Measured:
    """Send a path with escapes and doubled slashes, and see what reaches the function."""
    came = lab.ask("Streamed", ODD_PATH)
    try:
        arrived = json.loads(came.body)
    except ValueError:
        return Measured(_shown(came), None)
    return Measured(f"{ODD_PATH} arrived as {arrived}", arrived == ODD_PATH)


def dict_as_text(lab: Lab) -> Measured:
    """Ask a function without the layer on a URL that streams."""
    came = lab.ask("Bare", "/event")
    found = diagnosis.of_text(came)
    same = came.status == 200 and found is not None and found.cause == "dict_as_text"
    return Measured(_shown(came), same)
