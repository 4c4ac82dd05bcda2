"""Reads a turn's body within Lambda's limit, decodes it, and gives it to its dialect.

Knows what platforms leave out of a body because they say it elsewhere, but not its fields.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.dialects.split_characters import whole_characters
from completions.errors import InvalidRequest, TooLarge
from completions.settings import BODY_LIMIT_BYTES


async def read_json_object(request: Request) -> dict[str, Any]:
    """Return the request's body.

    Raises:
        TooLarge: It exceeds Lambda's limit; the rest of it is not read.
        InvalidRequest: It is not a JSON object.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise TooLarge(
                f"The request has more than {BODY_LIMIT_BYTES} bytes, which is Lambda's limit. "
                "Shorten the system prompt or the history."
            )
    try:
        try:
            value = from_json(bytes(body), allow_inf_nan=False)
        except ValueError:
            # A platform that cut a text mid-character sends that history for the rest of a call.
            value = from_json(whole_characters(bytes(body)), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def parse(dialect: Dialect, body: dict[str, Any], session: str) -> ParsedRequest:
    """Read the body; `session` is the id of a caller who wants it back in each chunk.

    Such a caller (Hume's EVI) reads only streams, and its documentation shows no `stream`.

    Raises:
        InvalidRequest: A field cannot be understood.
    """
    if not session:
        return dialect.parse(body)
    streamed = body if body.get("stream") is not None else {**body, "stream": True}
    return replace(dialect.parse(streamed), session=session)
