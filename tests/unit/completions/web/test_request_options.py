"""What a caller chooses by headers: how failures are reported, when buffer words come, comments."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from completions.dialects import chat
from completions.dialects.request import ParsedRequest
from completions.errors import InvalidRequest
from completions.settings import Settings
from completions.web.request_options import (
    BUFFER_WORDS_HEADER,
    COMMENTS_HEADER,
    ON_FAILURE_HEADER,
    on_failure,
    wants_comments,
    with_buffer_words,
)
from tests.support.deployment import CALM, calling, deploy

BODY = {"messages": [{"role": "user", "content": "Hello?"}]}


def _request(**headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": named})


def _with(value: str, **extra: Any) -> ParsedRequest:
    parsed = chat.parse({**BODY, "elevenlabs_extra_body": extra})
    return with_buffer_words(parsed, _request(**{BUFFER_WORDS_HEADER: value}))


def test_the_header_for_failures_wins() -> None:
    """It overrides the deployment's setting, in any case of letters."""
    settings = Settings(on_failure="speak")
    assert on_failure(_request(), settings) == "speak"
    assert on_failure(_request(**{ON_FAILURE_HEADER: " Error "}), settings) == "error"
    with pytest.raises(InvalidRequest, match="speak, error"):
        on_failure(_request(**{ON_FAILURE_HEADER: "shout"}), settings)


@pytest.mark.parametrize(("value", "after_ms"), [("0", 0), (" 700 ", 700), ("60000", 60_000)])
def test_a_header_sets_the_wait(value: str, after_ms: int) -> None:
    """Some clients cannot send an extra body."""
    assert _with(value).extra.buffer_words_after_ms == after_ms


def test_the_extra_body_wins_over_the_header() -> None:
    """It applies to one agent or call, a header to all of a client's requests."""
    assert _with("700", buffer_words_after_ms=0).extra.buffer_words_after_ms == 0
    assert _with("", buffer_words_after_ms=9).extra.buffer_words_after_ms == 9
    assert _with("").extra.buffer_words_after_ms is None


@pytest.mark.parametrize("value", ["-1", "60001", "1.5", "soon", "\u0663", "9" * 40])
def test_an_invalid_wait_is_refused(value: str) -> None:
    """The error names the header."""
    with pytest.raises(InvalidRequest) as caught:
        _with(value.encode().decode("latin-1"))
    assert caught.value.param == BUFFER_WORDS_HEADER


def test_comments_come_only_if_asked_for() -> None:
    """A request for unknown ones is refused, so that a typing mistake is noticed."""
    assert not wants_comments(_request())
    assert wants_comments(_request(**{COMMENTS_HEADER: " Candidates "}))
    for other in ("all", ""):
        with pytest.raises(InvalidRequest, match="must be candidates") as caught:
            wants_comments(_request(**{COMMENTS_HEADER: other}))
        assert caught.value.param == COMMENTS_HEADER


@pytest.mark.parametrize(
    ("setting", "header", "status"),
    [("speak", "error", 502), ("error", "speak", 200), ("error", None, 502), ("speak", None, 200)],
)
async def test_a_request_chooses_how_failures_are_reported(
    setting: str, header: str | None, status: int
) -> None:
    """Its header overrides the deployment's setting in a whole turn."""
    nobody = "http://127.0.0.1:1/v1"
    headers = {"x-completions-on-failure": header} if header else {}
    body = {"model": "m", "stream": True, **BODY}
    async with calling(deploy(nobody, on_failure=setting, **CALM)) as client:
        response = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == status
