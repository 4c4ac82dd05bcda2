"""The function's own URL, which only Lambda's event names."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from completions.web.function_url import function_url

ON_LAMBDA = "abc123.lambda-url.eu-central-1.on.aws"


def _request(event: Any, *headers: tuple[bytes, bytes]) -> Request:
    scope = {"type": "http", "method": "POST", "path": "/v1/warm", "headers": list(headers)}
    return Request(scope if event is None else {**scope, "aws.event": event})


def _named(domain: Any) -> Request:
    return _request({"requestContext": {"domainName": domain}})


def test_a_function_url_is_named_by_its_event() -> None:
    """The event's domain is the function's own: with TLS on Lambda, without TLS locally."""
    assert function_url(_named(ON_LAMBDA)) == f"https://{ON_LAMBDA}"
    assert function_url(_named("127.0.0.1:8080")) == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "domain",
    [
        "",
        None,
        7,
        "evil.example",
        f"{ON_LAMBDA}.evil.example",
        f"evil.example/{ON_LAMBDA}",
        f"user@{ON_LAMBDA}",
        f"{ON_LAMBDA}:8443",
        f"{ON_LAMBDA}\n",
        "api.execute-api.eu-west-1.amazonaws.com",
        "127.0.0.1",
        "127.0.0.1:80@evil.example",
        "169.254.169.254:80",
        "localhost:80",
    ],
)
def test_no_other_domain_is_our_url(domain: Any) -> None:
    """A domain that does not look like a Function URL is never called, so no key goes there."""
    assert function_url(_named(domain)) is None


@pytest.mark.parametrize("event", [None, {}, {"requestContext": None}, "text", []])
def test_a_header_names_no_url(event: Any) -> None:
    """A request that came through no Function URL has no URL, whatever its headers say."""
    headers = [(b"host", ON_LAMBDA.encode()), (b"x-forwarded-host", ON_LAMBDA.encode())]
    assert function_url(_request(event, *headers)) is None
