"""Puts the log into plain words: a line for each turn, and what its owner has to fix.

Knows the function's log events, and how to fix problems on this command line. Reads and writes
nothing. What a turn's own line already says is not repeated.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.upstream_advice import Upstream

TEXT_LIMIT_CHARS = 300
_MODEL_MISSING = "a request names no model: PARAMETERS='UpstreamModel=...' names one"
_IN_THE_TURNS_LINE = frozenset(
    {"turn.failed", "turn.moved_on", "turn.bridged", "candidate.late", "answer.silent"}
    | {"call.reasked", "call.invalid", "upstream.refused", "upstream.learnt", "key.missing"}
    | {"upstream.reconnected", "upstream.lacks_responses", "candidate.stubborn", "turn.untaken"}
)
_HEARD_INSTEAD = {
    "apology": "our apology, since no model answered",
    "empty": "nothing, since the model said nothing",
    "hung_up": "nothing, since the caller left first",
    "crashed": "what was said before a bug",
}
_AFTERWARDS = {
    "cut": ", then it broke off",
    "bridged": ", after it had broken off once",
    "hung_up": ", then the caller left",
}


@dataclass
class LogLines:
    """Translates the lines of one run, in the order in which they come."""

    upstream: Upstream
    caller_key: str
    _printed: set[str] = field(default_factory=set)
    """Printed since the last turn: three requests of one turn may be refused for one reason."""
    _model_missing: bool = False
    wrong: str = ""
    """What the owner has to fix, as last printed."""

    def translate(self, line: str) -> str | None:
        """Return what a line of the log says to a person; None if it is for machines only."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            return _printable(line) or None  # Somebody's print, or a line of the platform's.
        if event.get("message") == "turn.finished":
            self._printed.clear()
            return f"{time.strftime('%H:%M:%S')} {turn(event)}"
        text = self._event(event)
        if text is None or text in self._printed:
            return None
        self._printed.add(text)
        return f"{time.strftime('%H:%M:%S')} {text}"

    def _event(self, event: Mapping[str, Any]) -> str | None:
        name = event.get("message")
        if name == "upstream.misconfigured":
            about = (str(event.get(name) or "") for name in ("candidate", "cause", "model"))
            self.wrong = self.upstream.wrong(*about)
            return self.wrong
        if name == "auth.refused":
            return (
                f"a caller was refused: {event.get('reason')}; the caller key is {self.caller_key}"
            )
        if name == "path.unknown":
            return f"a caller asked for {event.get('path')}, which does not exist"
        if name == "model.missing":
            # Once is enough: most model APIs answer all the same.
            known, self._model_missing = self._model_missing, True
            return None if known else _MODEL_MISSING
        if logger := event.get("logger"):
            text = ": ".join(filter(None, (str(name), _last_line(event))))
            return _printable(f"{str(logger).rpartition('.')[2]}: {text}")
        if name == "candidate.crashed" and event.get("candidate") == "responder":
            raised = _last_line(event).removeprefix("builtins.")
            return _printable(f"your agent raised {raised} ({event.get('place')})")
        if str(event.get("level")) not in ("WARNING", "ERROR", "CRITICAL"):
            return None
        if name in _IN_THE_TURNS_LINE:
            return None
        reason = event.get("reason") or event.get("errorMessage") or _last_line(event)
        return _printable(f"{name}: {reason}" if reason else str(name))


def turn(event: Mapping[str, Any]) -> str:
    """Return a turn in one line: what was said, what was heard, and when."""
    parts = []
    if said := _text(event, "gen_ai.input.messages"):
        parts.append(f'said "{said}"')
    parts.append(f"heard {_heard(event)}")
    if called := event.get("tools_called"):
        parts.append(f"called {', '.join(map(str, called))}")
    if times := _times(event):
        parts.append(times)
    if len(attempts := event.get("candidates") or []) > 1:
        parts.append(f"asked {', '.join(map(_attempt, attempts))}")
    if event.get("error.type"):
        parts.append(f"why: {event['error.type']}")
    return " | ".join(parts)


def _heard(event: Mapping[str, Any]) -> str:
    outcome = str(event.get("outcome"))
    if text := _text(event, "gen_ai.output.messages"):
        return f'"{text}"{_AFTERWARDS.get(outcome, "")}'
    if outcome in _HEARD_INSTEAD:
        return _HEARD_INSTEAD[outcome]
    if outcome in ("error", "refused"):
        return f"an error, status {event.get('http.response.status_code')}"
    return "no words" if event.get("tools_called") else "an answer"


def _times(event: Mapping[str, Any]) -> str:
    spoken, model = event.get("first_spoken_ms"), event.get("first_token_ms")
    times = []
    if event.get("buffer_words") and spoken is not None:
        times.append(f"buffer words at {_s(spoken)}")
    if model is not None:
        times.append(f"first word at {_s(model)}")
    if event.get("duration_ms") is not None:
        times.append(f"end at {_s(event['duration_ms'])}")
    return ", ".join(times)


def _attempt(attempt: Mapping[str, Any]) -> str:
    return f"{attempt.get('candidate')} ({attempt.get('why')})"


def _s(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 100 else f"{milliseconds:.0f} ms"


def _text(event: Mapping[str, Any], name: str) -> str:
    messages: Sequence[Any] = event.get(name) or ()
    parts = [part for message in messages for part in message["parts"]]
    text = _printable(" ".join(part["content"] for part in parts))
    return text if len(text) <= TEXT_LIMIT_CHARS else text[:TEXT_LIMIT_CHARS] + "…"


def _last_line(event: Mapping[str, Any]) -> str:
    lines = str(event.get("exception") or "").strip().splitlines()
    return lines[-1] if lines else ""


def _printable(text: str) -> str:
    kept = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(kept.split())
