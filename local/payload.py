"""Payload format 2.0: an HTTP request as an event, an answer as an HTTP response.

Follows the Lambda Developer Guide, "Invoking Lambda function URLs", and for streamed answers the
prelude that AWS's Node.js runtime sends (tests/reference). It opens no socket.
"""

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from local.runtime_api import Answer, Cut, Failure

STREAMED_TYPE = "application/vnd.awslambda.http-integration-response"
DELIMITER = b"\0" * 8
# A prelude holds headers; without a delimiter within this size, there is no prelude.
PRELUDE_LIMIT_BYTES = 1024 * 1024
# RFC 9110, section 7.6.1: they concern one connection, so the function must not set them.
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True, slots=True)
class Response:
    """What the caller gets. Reading the body raises `Cut` if the answer broke off."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]
    failure: Failure | None = None  # why the function, not the app, did not answer


def event_of(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    source_ip: str,
    *,
    domain: str,
) -> dict[str, Any]:
    """Return the event of a request whose header names are lower-case.

    `domain` is the URL's own, as on Lambda: a request's `host` does not change it.
    NOTE: `rawPath` and `requestContext.http.path` both hold the path as it was sent, not decoded.
    """
    path, _, query = target.partition("?")
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    cookies = [part.strip() for part in joined.pop("cookie", "").split(";") if part.strip()]
    host = joined.get("host", "")
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            **joined,
            "x-forwarded-for": source_ip,
            "x-forwarded-port": host.rpartition(":")[2] if ":" in host else "80",
            "x-forwarded-proto": "http",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": domain,
            "domainPrefix": "local",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": joined.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            **clock(now),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
        event["queryStringParameters"] = parameters
    if body:
        text = _text_of(body, joined.get("content-type", ""))
        event["body"] = base64.b64encode(body).decode() if text is None else text
        event["isBase64Encoded"] = text is None
    return event


def clock(now: float) -> dict[str, Any]:
    """Return the two spellings of a request's arrival, `now` in seconds since the epoch."""
    written = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
    return {"time": written, "timeEpoch": int(now * 1000)}


def _text_of(body: bytes, content_type: str) -> str | None:
    """Return the body as text if its type says so and it is; otherwise None."""
    kind = content_type.partition(";")[0].strip().lower()
    if not kind.startswith("text/") and not any(
        word in kind for word in ("json", "xml", "javascript")
    ):
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


async def response_of(answer: Answer | Failure, invoke_mode: str) -> Response:
    """Return what the Function URL turns an answer into, in its invoke mode.

    `RESPONSE_STREAM` understands the streaming format only: a `{"statusCode": …}` dict reaches
    the caller as JSON text with status 200. `BUFFERED` understands the dict only.
    """
    if isinstance(answer, Failure):
        return bad_gateway(answer)
    if invoke_mode == "RESPONSE_STREAM":
        if answer.streamed and answer.content_type == STREAMED_TYPE:
            return await _streamed(answer)
        return Response(200, [("content-type", answer.content_type)], aiter(answer.body))
    try:
        return _interpreted(b"".join([chunk async for chunk in answer.body]))
    except Cut:
        return bad_gateway(Failure("Runtime.TruncatedResponse"))


def bad_gateway(failure: Failure) -> Response:
    """Return what a caller gets when the function failed before it answered.

    Status and text were recorded by others for BUFFERED (LocalStack's snapshot tests against AWS);
    for RESPONSE_STREAM they are a guess.
    """
    headers = [("content-type", "text/plain; charset=utf-8")]
    return Response(502, headers, _whole_body(b"Internal Server Error"), failure)


async def _streamed(answer: Answer) -> Response:
    """Read the prelude and leave the rest to be read as it comes."""
    chunks = aiter(answer.body)
    head = b""
    try:
        while DELIMITER not in head and len(head) < PRELUDE_LIMIT_BYTES:
            head += await anext(chunks)
    except (Cut, StopAsyncIteration):
        return bad_gateway(Failure("Runtime.TruncatedResponse", "it ended before its prelude"))
    prelude, found, first = head.partition(DELIMITER)
    try:
        fields = json.loads(prelude) if found else None
        status, headers = _head(fields or {}, "application/octet-stream")
    except (ValueError, TypeError, AttributeError):
        status = 0
    if not found or not 200 <= status <= 599:
        await answer.body.discard()
        return bad_gateway(Failure("Runtime.MalformedPrelude", head[:80].decode(errors="replace")))
    return Response(status, headers, _body_after(first, chunks))


def _interpreted(payload: bytes) -> Response:
    """Return a whole answer: an HTTP response if it has a `statusCode`, else a body."""
    try:
        fields = json.loads(payload)
    except ValueError:
        # A guess; managed runtimes post JSON only.
        return bad_gateway(Failure("Runtime.MalformedResponse", "it is not JSON"))
    if not isinstance(fields, dict) or "statusCode" not in fields:
        text = fields.encode() if isinstance(fields, str) else payload
        return Response(200, [("content-type", "application/json")], _whole_body(text))
    try:
        status, headers = _head(fields, "application/json")
        given = fields.get("body") or ""
        body = given if isinstance(given, str) else json.dumps(given)
        whole = base64.b64decode(body) if fields.get("isBase64Encoded") else body.encode()
    except (ValueError, TypeError, AttributeError):
        return bad_gateway(Failure("Runtime.MalformedResponse", "statusCode, headers or body"))
    headers = [(name, value) for name, value in headers if name != "content-length"]
    return Response(status, [*headers, ("content-length", str(len(whole)))], _whole_body(whole))


def _head(fields: Mapping[str, Any], default_type: str) -> tuple[int, list[tuple[str, str]]]:
    """Read status and headers of a prelude. Raises ValueError, TypeError, AttributeError."""
    headers = {str(name).lower(): str(value) for name, value in fields.get("headers", {}).items()}
    headers.setdefault("content-type", default_type)
    pairs = [(name, value) for name, value in headers.items() if name not in HOP_BY_HOP]
    return int(fields.get("statusCode", 200)), pairs + [
        ("set-cookie", str(cookie)) for cookie in fields.get("cookies", [])
    ]


async def _whole_body(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _body_after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk
