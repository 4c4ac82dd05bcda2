"""One turn as the page draws it: plain JSON, times in ms since the turn's beginning.

Knows the player's turns, and the deployment's comment about its candidates (docs/logs.md, "A turn's
time line"), but neither HTTP nor pixels.
"""

from __future__ import annotations

import json
from typing import Any

from ops.call.post import Post
from ops.call.turn import Turn

_COMMENT = b": candidates "


def turn_json(turn: Turn, *, now_ms: float | None = None) -> dict[str, Any]:
    """Return the turn as far as it is known. `now_ms` is None once it is over."""
    posts = [_post(post) for post in turn.posts]
    return {
        "number": turn.number,
        "caller": turn.caller,
        "now_ms": now_ms,
        "words": [
            {
                "text": word.text,
                "from_ms": round(word.from_ms, 1),
                "until_ms": round(word.until_ms, 1),
                "is_buffer": word.is_buffer,
            }
            for word in turn.speech.words
        ],
        "posts": posts,
        "candidates": [life for post in posts for life in post["candidates"]],
        "tokens": [
            round(post.sent_at_ms + at_ms, 1)
            for post in turn.posts
            for at_ms, _ in post.heard.words
        ],
        "calls": [
            {
                "id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "shows": outcome.shows if outcome else "",
                "unusable": outcome.unusable if outcome else "",
            }
            for call, outcome in turn.done
        ],
        "called_at_ms": _rounded(turn.called_at_ms) if turn.posts else None,
        "platform_says": turn.platform_says,
        "interrupted_at_ms": _rounded(turn.interrupted_at_ms),
        "heard": turn.heard_text,
        "unheard": turn.unheard_text,
        "first_sound_ms": _rounded(turn.first_sound_ms) if turn.posts else None,
        "answer_ms": _rounded(turn.answer_ms) if turn.posts else None,
        "troubles": [{"cause": each.cause, "detail": each.detail} for each in turn.troubles],
        "ended": turn.ended,
    }


def _post(post: Post) -> dict[str, Any]:
    came = post.came
    return {
        "number": post.number,
        "sent_ms": round(post.sent_at_ms, 1),
        "headers_ms": _rounded(post.headers_at_ms),
        "ended_ms": round(post.ended_at_ms, 1) if came.status or came.trouble else None,
        "status": came.status,
        "gave_up": post.gave_up,
        "candidates": [_life(each, post.sent_at_ms) for each in _candidates(came.body)],
        "frames": [
            [round(post.sent_at_ms + piece.at_ms, 1), piece.data.decode("utf-8", "replace")]
            for piece in came.pieces
        ],
    }


def _candidates(body: bytes) -> list[dict[str, Any]]:
    for line in body.splitlines():
        if line.startswith(_COMMENT):
            try:
                return list(json.loads(line.removeprefix(_COMMENT)))
            except ValueError:
                return []
    return []


def _life(candidate: dict[str, Any], sent_at_ms: float) -> dict[str, Any]:
    """Convert a candidate's times, which count from its request, to the turn's."""
    return {
        name: round(value + sent_at_ms, 1) if name.endswith("_ms") else value
        for name, value in candidate.items()
    }


def _rounded(at_ms: float | None) -> float | None:
    return None if at_ms is None else round(at_ms, 1)
