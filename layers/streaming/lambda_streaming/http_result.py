"""Turns a plain handler's HTTP result into an application with the same answer.

A function around Mangum, or Powertools, returns the whole answer in one dict. On a URL that streams
Lambda would pass that dict on as JSON text; run as an application it becomes an answer.

Sources: "Invoking Lambda function URLs", section payloads (format 2.0), AWS Lambda developer guide;
for `multiValueHeaders`, "Output format of a Lambda function for proxy integration", Amazon API
Gateway developer guide.
"""

from base64 import b64decode
from typing import Any

from lambda_streaming.asgi import Application, Receive, Scope, Send
from lambda_streaming.failures import PlatformError


def application_of(result: Any) -> Application | None:
    """Return an application that answers `result`, or None if it is not an HTTP result.

    Raises:
        PlatformError: It has a `statusCode`, but cannot be turned into an answer.
    """
    if not isinstance(result, dict) or "statusCode" not in result:
        return None
    try:
        status = int(result["statusCode"])
        several = result.get("multiValueHeaders") or {}
        single = (result.get("headers") or {}).items()
        fields = [(name, value) for name, value in single if name not in several]
        fields += [(name, value) for name, values in several.items() for value in values]
        fields += [("set-cookie", cookie) for cookie in result.get("cookies") or ()]
        headers = [
            (str(name).lower().encode("latin-1"), _text(value).encode("latin-1"))
            for name, value in fields
        ]
        body = result.get("body")
        body = "" if body is None else body
        data = b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()
    except (TypeError, ValueError, AttributeError) as error:
        raise PlatformError(
            "Runtime.MarshalError", f"The result has a statusCode, but is not HTTP: {error}"
        ) from error
    names = {name for name, _ in headers}
    if b"content-type" not in names:
        headers.append((b"content-type", b"application/json"))  # as Lambda assumes
    measured = (b"content-length", str(len(data)).encode())
    of_data = [*(pair for pair in headers if pair[0] != b"content-length"), measured]

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        # A whole body is measured, whatever the result says. An answer to HEAD, and a 304, tell the
        # length of a body that they leave out (RFC 9110, section 8.6).
        left_out = not data and (scope.get("method") == "HEAD" or status == 304)
        headers_sent = headers if left_out and b"content-length" in names else of_data
        await send({"type": "http.response.start", "status": status, "headers": headers_sent})
        await send({"type": "http.response.body", "body": data})

    return application


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
