"""The prelude of Lambda's streaming format: status, headers and cookies of a streamed answer.

Source: "Response streaming for Lambda functions", AWS Lambda developer guide, and the requests of
AWS's Node.js runtime client in tests/reference. Does not know how it is sent.
"""

from collections.abc import Iterable
from typing import Any

# RFC 9110, section 7.6.1: they concern one connection, and there are several to the caller.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def prelude(
    status: int, headers: Iterable[tuple[bytes, bytes]], *, bodiless: bool
) -> dict[str, Any]:
    """Return the metadata that goes before a streamed body.

    Names are lower-case, repeated headers are joined (RFC 9110, section 5.3), cookies are separate.
    A bodiless answer gets a `content-length`; a HEAD or 304 answer keeps the application's.
    """
    fields: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "set-cookie":
            cookies.append(value)
        else:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    named = {name.strip().lower() for name in fields.get("connection", "").split(",")}
    fields = {k: v for k, v in fields.items() if k not in _HOP_BY_HOP and k not in named}
    if status == 204:
        fields["content-length"] = "0"
    elif bodiless:
        fields.setdefault("content-length", "0")
    metadata: dict[str, Any] = {"statusCode": status}
    if fields:
        metadata["headers"] = fields
    if cookies:
        metadata["cookies"] = cookies
    return metadata


def length(metadata: dict[str, Any]) -> int | None:
    """Return how many bytes of body it promises, or None without a length."""
    named = metadata.get("headers", {}).get("content-length", "")
    return int(named) if named.isascii() and named.isdigit() else None


def may_be_empty(metadata: dict[str, Any]) -> bool:
    """Return whether the body may well be empty, though the length does not say so.

    An empty answer of unknown length has been seen to hang a Function URL (awslabs/
    aws-lambda-web-adapter#499). For redirects and answers without a content type it is worth
    waiting for what follows; for a stream of events it is not.
    """
    fields = metadata.get("headers", {})
    if "content-length" in fields:
        return False
    return 300 <= metadata["statusCode"] < 400 or "content-type" not in fields


def mark_empty(metadata: dict[str, Any]) -> None:
    """State that no body follows."""
    metadata.setdefault("headers", {})["content-length"] = "0"
