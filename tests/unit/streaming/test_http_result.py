"""A plain handler's HTTP result, sent as an ASGI application's messages."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_streaming.asgi import Message
from lambda_streaming.failures import PlatformError
from lambda_streaming.http_result import application_of


async def played(result: Any, method: str = "GET") -> list[Message]:
    """Return the messages that `result` becomes."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing should be received")

    application = application_of(result)
    assert application
    await application({"method": method}, receive, send)
    return messages


async def test_status_headers_cookies_and_body_are_said() -> None:
    """Results of payload format 2.0 are read, also with values that are not text."""
    start, body = await played(
        {
            "statusCode": "201",
            "headers": {"Content-Type": "text/plain", "x-count": 3, "x-new": True},
            "cookies": ["a=1", "b=2"],
            "body": "höher",
        }
    )
    assert start["status"] == 201
    assert start["headers"] == [
        (b"content-type", b"text/plain"),
        (b"x-count", b"3"),
        (b"x-new", b"true"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"6"),
    ]
    assert body["body"] == "höher".encode()


async def test_a_body_may_be_base64_or_missing() -> None:
    """A body may be base64 or missing, and a missing content type means JSON, as for Lambda."""
    _, body = await played({"statusCode": 200, "body": "/w==", "isBase64Encoded": True})
    assert body["body"] == b"\xff"
    start, body = await played({"statusCode": 204, "body": None})
    assert body["body"] == b""
    assert (b"content-type", b"application/json") in start["headers"]


async def test_headers_with_several_values_are_said_each() -> None:
    """If a REST API's result names a header in both fields, the field with several values wins."""
    start, _ = await played(
        {
            "statusCode": 200,
            "headers": {"vary": "lost", "x-a": "1"},
            "multiValueHeaders": {"vary": ["origin", "accept"], "Set-Cookie": ["a=1", "b=2"]},
        }
    )
    assert start["headers"][:5] == [
        (b"x-a", b"1"),
        (b"vary", b"origin"),
        (b"vary", b"accept"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


@pytest.mark.parametrize(
    ("method", "status", "body", "length"),
    [
        ("GET", 200, "four", b"4"),
        ("GET", 200, "", b"0"),
        ("HEAD", 200, "", b"9"),
        ("HEAD", 200, "four", b"4"),
        ("GET", 304, "", b"9"),
    ],
)
async def test_a_wrong_length_is_put_right(
    method: str, status: int, body: str, length: bytes
) -> None:
    """The content-length is the body's; the result's own is kept only if the body is left out."""
    result = {"statusCode": status, "headers": {"Content-Length": "9"}, "body": body}
    start, _ = await played(result, method)
    lengths = [value for name, value in start["headers"] if name == b"content-length"]
    assert lengths == [length]


@pytest.mark.parametrize("result", [None, "text", {"status": 200}, [], b"x"])
def test_another_result_is_not_http(result: Any) -> None:
    """Any other result is sent as it is."""
    assert application_of(result) is None


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "soon"},
        {"statusCode": None},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"x": "€"}},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
    ],
)
def test_a_result_that_cannot_be_an_answer_says_so(result: dict[str, Any]) -> None:
    """The error is the platform's for a result that it cannot read."""
    with pytest.raises(PlatformError, match="statusCode") as caught:
        application_of(result)
    assert caught.value.type == "Runtime.MarshalError"
