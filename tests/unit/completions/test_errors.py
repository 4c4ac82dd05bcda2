"""Errors: each has status, type and code, in the form that OpenAI's clients parse."""

from __future__ import annotations

import inspect
import json

import httpx2
import openai
import pytest

from completions import errors
from completions.errors import (
    ChainNotFound,
    CompletionsError,
    InvalidRequest,
    NoTurn,
    Unauthorized,
    UpstreamAuth,
    UpstreamRefused,
)

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, CompletionsError)
]


def _make(kind: type[CompletionsError]) -> CompletionsError:
    if kind is UpstreamRefused:
        return UpstreamRefused("No.", status=418)
    if kind in (ChainNotFound, NoTurn):
        return kind()
    return kind("No.")


@pytest.mark.parametrize("kind", CLASSES)
def test_each_error_has_openais_form(kind: type[CompletionsError]) -> None:
    """It has four fields, of which message, type and code are texts."""
    error = _make(kind)
    body = json.loads(json.dumps(error.body()))
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert all(body["error"][name] for name in ("message", "type", "code"))
    assert 400 <= error.status < 600


@pytest.mark.parametrize("kind", CLASSES)
async def test_the_sdk_raises_the_class_for_the_status(kind: type[CompletionsError]) -> None:
    """The official client raises its own exception for it, with message, code and type."""
    error = _make(kind)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(error.status, json=error.body(), headers=error.headers)

    async with openai.AsyncOpenAI(
        api_key="k",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)),
    ) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.models.list()
    raised = caught.value
    assert (raised.status_code, raised.code, raised.type) == (error.status, error.code, error.type)
    assert error.message in raised.message


def test_the_field_is_named() -> None:
    """`param` says which field of the request is wrong."""
    assert InvalidRequest("No.", param="messages[0]").body()["error"]["param"] == "messages[0]"


def test_a_401_asks_for_a_bearer_key() -> None:
    """RFC 9110, section 11.6.1: a 401 says how to authenticate."""
    assert Unauthorized("No.").headers == {"www-authenticate": "Bearer"}


def test_our_own_key_is_never_the_callers_fault() -> None:
    """The upstream's refusal of our key is a 502."""
    assert (UpstreamAuth("No.").status, UpstreamAuth("No.").code) == (502, "upstream_auth")


@pytest.mark.parametrize(
    ("status", "transient", "kind"),
    [
        (400, False, "invalid_request_error"),
        (404, False, "invalid_request_error"),
        (408, True, "invalid_request_error"),
        (409, True, "invalid_request_error"),
        (422, False, "invalid_request_error"),
        (429, True, "invalid_request_error"),
        (500, True, "server_error"),
        (503, True, "server_error"),
        (529, True, "server_error"),
    ],
)
def test_an_error_that_may_pass_is_transient(status: int, transient: bool, kind: str) -> None:
    """An upstream's status decides whether asking again, or another model, can help."""
    error = UpstreamRefused("No.", status=status)
    assert (error.status, error.transient, error.type) == (status, transient, kind)


def test_an_upstreams_error_is_passed_on() -> None:
    """Its type, code, field and headers are kept."""
    error = UpstreamRefused(
        "Slow down.",
        status=429,
        error_type="tokens",
        code="rate_limit_exceeded",
        param="model",
        headers={"retry-after": "7"},
    )
    assert error.body()["error"] == {
        "message": "Slow down.",
        "type": "tokens",
        "param": "model",
        "code": "rate_limit_exceeded",
    }
    assert error.headers == {"retry-after": "7"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """It is in seconds or milliseconds; an unreadable value is ignored."""
    assert UpstreamRefused("No.", status=429, headers=headers).retry_after_s == seconds
