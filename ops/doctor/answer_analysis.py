"""What one answer to a turn shows: its words, its faults, and what these mean for that turn.

Knows exchanges and turns, not what was asked before.
"""

from __future__ import annotations

from collections.abc import Sequence

from ops.doctor import diagnosis, events, pace, strict_reader
from ops.doctor.strict_reader import Heard, Trouble
from ops.doctor.turns import Turn
from ops.doctor.wire import Exchange

APOLOGIES = {"failure_sentence", "declined"}
"""Our own words where a model's were expected."""
_ENDS_EARLY = {"no_terminator", "unfinished_event", "no_finish", "silent"}
"""What a cut stream also lacks, without separate causes."""
_MODEL_FAILED = {*APOLOGIES, "error_frame", "silent", "model_down", "model_slow"}
_REFUSED = {"bad_request", "model_down", "proxy_error", "error_frame"}
"""How a refusal of a history shows: a server whose template cannot take it fails."""


def heard(came: Exchange, turn: Turn) -> tuple[Heard, list[Trouble]]:
    """Return the answer as a strict client reads it, and everything wrong with it."""
    if found := diagnosis.of_exchange(came):
        return Heard(), [found]
    answer = strict_reader.hear(events.read(came.pieces), responses=turn.responses)
    troubles = [diagnosis.refined(trouble) for trouble in answer.troubles]
    if came.trouble:
        troubles = [each for each in troubles if each.cause not in _ENDS_EARLY]
        troubles.insert(0, Trouble(came.trouble, came.detail))
    return answer, troubles


def judge_long_prompt(came: Exchange, troubles: Sequence[Trouble]) -> list[Trouble]:
    """Return what a refused long prompt means: the model may refuse it, the server may not."""
    if not troubles:
        return []
    refused = came.status >= 400 and diagnosis.is_error_object(came) and came.status != 413
    if refused or all(trouble.cause in _MODEL_FAILED for trouble in troubles):
        return [Trouble("small_window", troubles[0].detail)]
    return list(troubles)


def judge_odd_history(troubles: Sequence[Trouble]) -> list[Trouble]:
    """Return what failures mean for a turn that only has an odd history."""
    return [
        Trouble("shape_refused", each.detail) if each.cause in _REFUSED else each
        for each in troubles
    ]


def long_answer(came: Exchange, heard: Heard) -> pace.LongAnswer:
    """Return how the pieces of the model's own words arrived."""
    arrivals = [at_ms for at_ms, _ in heard.model_words]
    return pace.LongAnswer(arrivals, length_known="content-length" in came.headers)


def describe(came: Exchange, heard: Heard) -> str:
    """Return the row's text for a good answer."""
    if heard.calls:
        call = heard.calls[0]
        return f"{came.status} {call.name}({call.arguments})"
    text = " ".join(heard.text.split())
    count = len(heard.words)
    return f"{came.status} {count} piece{'' if count == 1 else 's'}: {text}"
