"""Which senders of HTTP events take a stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lambda_streaming.http_event import takes_a_stream

URL_EVENT = json.loads(
    (Path(__file__).parents[2] / "reference" / "url-event.json").read_text("utf-8")
)
HTTP_API = {**URL_EVENT["requestContext"], "domainName": "abc.execute-api.eu-west-1.amazonaws.com"}
OWN_DOMAIN = {**URL_EVENT["requestContext"], "domainName": "api.a.b", "domainPrefix": "api"}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (URL_EVENT, True),
        ({**URL_EVENT, "requestContext": HTTP_API}, False),
        ({**URL_EVENT, "requestContext": OWN_DOMAIN}, False),
        ({"version": "1.0", "resource": "/", "requestContext": HTTP_API}, False),
        ({"resource": "/", "requestContext": {"apiId": "abc"}}, False),
        ({"requestContext": {"elb": {}}}, False),
        ({"Records": [{"cf": {}}]}, False),
        ({**URL_EVENT, "requestContext": None}, False),
        ([], False),
    ],
)
def test_only_a_function_url_takes_a_stream(event: Any, expected: bool) -> None:
    """Any other sender would show the streaming format to the caller."""
    assert takes_a_stream(event) == expected


def test_a_rest_api_takes_a_stream_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable decides for REST APIs alone, since their events are the same in both modes."""
    monkeypatch.setenv("LAMBDA_STREAMING_REST_API", "STREAM")
    assert takes_a_stream({"resource": "/", "requestContext": {"apiId": "abc"}})
    assert not takes_a_stream({"version": "1.0", "resource": "/", "requestContext": HTTP_API})
    assert not takes_a_stream({"requestContext": {"elb": {}}})
