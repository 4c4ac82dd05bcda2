"""Options that a caller sets for one request by headers, where its client has no other place.

Knows headers, not what becomes of the choice.
"""

from __future__ import annotations

from dataclasses import replace

from fastapi import Request

from completions.dialects.request import AFTER_LIMIT_MS, ParsedRequest
from completions.errors import InvalidRequest
from completions.settings import ON_FAILURE, Settings

ON_FAILURE_HEADER = "x-completions-on-failure"
BUFFER_WORDS_HEADER = "x-completions-buffer-words-after-ms"
COMMENTS_HEADER = "x-completions-comments"
COMMENTS = "candidates"
"""The only choice: what each request to a model did, as a comment in the event stream."""


def on_failure(request: Request, settings: Settings) -> str:
    """Return `speak` or `error`: the request's own choice, or else the deployment's.

    Raises:
        InvalidRequest: The request chose something else.
    """
    choice = request.headers.get(ON_FAILURE_HEADER, settings.on_failure).strip().lower()
    if choice not in ON_FAILURE:
        raise InvalidRequest(
            f"The header {ON_FAILURE_HEADER} must be one of {', '.join(ON_FAILURE)}.",
            param=ON_FAILURE_HEADER,
        )
    return choice


def with_buffer_words(parsed: ParsedRequest, request: Request) -> ParsedRequest:
    """Return the request with the wait from its header, unless its extra body has one.

    Raises:
        InvalidRequest: The header is not a number of milliseconds within the limit.
    """
    choice = request.headers.get(BUFFER_WORDS_HEADER, "").strip()
    if not choice or parsed.extra.buffer_words_after_ms is not None:
        return parsed
    if not (choice.isascii() and choice.isdigit() and int(choice[:9]) <= AFTER_LIMIT_MS):
        raise InvalidRequest(
            f"The header {BUFFER_WORDS_HEADER} must be 0 (off) to {AFTER_LIMIT_MS} milliseconds.",
            param=BUFFER_WORDS_HEADER,
        )
    return replace(parsed, extra=replace(parsed.extra, buffer_words_after_ms=int(choice)))


def wants_comments(request: Request) -> bool:
    """Return True if the request asks for comments in its event stream.

    Raises:
        InvalidRequest: It asks for unknown comments.
    """
    choice = request.headers.get(COMMENTS_HEADER)
    if choice is None:
        return False
    if choice.strip().lower() != COMMENTS:
        raise InvalidRequest(
            f"The header {COMMENTS_HEADER} must be {COMMENTS}.", param=COMMENTS_HEADER
        )
    return True
