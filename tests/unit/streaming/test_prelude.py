"""What a streamed answer says before its body."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_streaming.prelude import length, prelude


@pytest.mark.parametrize(
    ("status", "headers", "bodiless", "expected"),
    [
        (200, [], False, {"statusCode": 200}),
        (
            200,
            [(b"X-A", b"1"), (b"x-a", b"2"), (b"Vary", b"caf\xe9")],
            False,
            {"statusCode": 200, "headers": {"x-a": "1, 2", "vary": "café"}},
        ),
        (
            200,
            [(b"Set-Cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2, c")],
            False,
            {"statusCode": 200, "cookies": ["a=1; Path=/", "b=2, c"]},
        ),
        (
            200,
            [
                (b"Connection", b"close, X-Hop"),
                (b"x-hop", b"1"),
                (b"Keep-Alive", b"1"),
                (b"Transfer-Encoding", b"chunked"),
                (b"Upgrade", b"h2c"),
                (b"TE", b"trailers"),
                (b"Trailer", b"X"),
                (b"Proxy-Authenticate", b"Basic"),
                (b"Proxy-Authorization", b"Basic"),
                (b"Proxy-Connection", b"close"),
                (b"x-end", b"1"),
            ],
            False,
            {"statusCode": 200, "headers": {"x-end": "1"}},
        ),
        (204, [], True, {"statusCode": 204, "headers": {"content-length": "0"}}),
        (
            204,
            [(b"content-length", b"7")],
            True,
            {"statusCode": 204, "headers": {"content-length": "0"}},
        ),
        (304, [], True, {"statusCode": 304, "headers": {"content-length": "0"}}),
        (
            200,
            [(b"content-length", b"7")],
            True,
            {"statusCode": 200, "headers": {"content-length": "7"}},
        ),
    ],
)
def test_preludes(
    status: int, headers: list[tuple[bytes, bytes]], bodiless: bool, expected: dict[str, Any]
) -> None:
    """Names are lower-case, cookies apart, duplicates joined, hop-by-hop headers dropped."""
    assert prelude(status, headers, bodiless=bodiless) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12", 12), ("0", 0), ("", None), ("-1", None), ("1 2", None), ("²", None)],
)
def test_a_length_that_is_not_a_number_is_ignored(text: str, expected: int | None) -> None:
    """A content-length that is not a number is ignored."""
    assert length({"statusCode": 200, "headers": {"content-length": text}}) == expected
    assert length({"statusCode": 200}) is None
