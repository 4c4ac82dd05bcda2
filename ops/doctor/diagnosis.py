"""The cause of an answer that is no turn, read from its status, headers and body.

Knows nothing of when it is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ops.doctor.strict_reader import Trouble
from ops.doctor.wire import Exchange

_BY_CODE = {
    "invalid_api_key": "caller_key",
    "upstream_auth": "upstream_auth",
    "key_unavailable": "key_unavailable",
    "upstream_unavailable": "model_down",
    "upstream_timeout": "model_slow",
    "invalid_tool_call": "model_down",
    "internal_error": "bug",
    "not_found": "path_unknown",
    "request_too_large": "too_large",
    "invalid_request": "bad_request",
    "model_not_found": "model_unknown",
    "upstream_402": "model_limited",
    "insufficient_quota": "model_limited",
    "upstream_404": "model_path",
}
"""`errors.py` of the function, and OpenAI's for a model that does not exist."""


_BY_WORDS = (
    (r"not authorized to perform: bedrock[\w-]*:CallWithBearerToken", "bedrock_token"),
    (r"\(403, bedrock[\w-]*:CallWithBearerToken\)", "bedrock_token"),
    (r"may not (?:ask|use) this model|not authorized to perform: bedrock", "upstream_rights"),
    (r"have access to the model|model access is denied", "upstream_rights"),
    (r"make sure your API Key is valid|invalid bearer token", "upstream_auth"),
    (
        r"security token included in the request is|\b(token|signature) (has )?expired",
        "upstream_auth",
    ),
    (r"model identifier is invalid", "bedrock_name"),
    (r"on-demand throughput isn", "bedrock_profile"),
    (r"supported on this route", "bedrock_path"),
    (r"\bmodel\b.{0,80} does not exist", "model_unknown"),
    (r"too many (requests|tokens), please wait|service quota", "model_limited"),
    (r"model is not ready|Bedrock is unable to process", "model_down"),
)
"""What a model API says of a set-up, in its own words or in the function's: Bedrock's errors have
no codes (as its users report them, and the Bedrock user guide, "Troubleshooting")."""

_LAMBDA_FAILED = b"internal server error"
"""A Function URL's whole body when its function failed before it answered."""


def of_exchange(came: Exchange) -> Trouble | None:
    """Return what is wrong with an answer to a turn; None if it is a stream to be read.

    A stream that was cut is read all the same: the caller has heard what came.
    """
    if came.trouble and not came.body:
        return Trouble(came.trouble, came.detail)
    if came.status != 200:
        return of_status(came)
    if found := of_text(came):
        return found
    body = came.body
    kind = came.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        return Trouble("wrong_type", f"{kind or 'no content-type'}: {_shown(body)}")
    return None


def of_text(came: Exchange) -> Trouble | None:
    """Return what was meant for Lambda and reached the caller: URL and layer do not fit."""
    body = came.body
    if body.startswith(b"{") and b"\0" * 8 in body:
        return Trouble("prelude_as_text", _shown(body))
    if "statusCode" in _object(body):
        return Trouble("dict_as_text", _shown(body))
    return None


def refined(trouble: Trouble) -> Trouble:
    """Return an error event's own cause, where its code tells one."""
    if trouble.cause == "error_frame":
        return Trouble(
            _BY_CODE.get(trouble.detail.partition(":")[0], "error_frame"), trouble.detail
        )
    return trouble


def is_error_object(came: Exchange) -> bool:
    """Return True if the body is OpenAI's error object, so that it is no proxy's."""
    return isinstance(_object(came.body).get("error"), Mapping)


def of_status(came: Exchange) -> Trouble:
    """Return the cause of an answer by status, read from the error that it carries."""
    status = came.status
    error = _object(came.body).get("error")
    code, message = "", ""
    if isinstance(error, Mapping):
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
    detail = f"{status} {code}: {message}"[:200] if error else f"{status} {_shown(came.body)}"
    aws = came.headers.get("x-amzn-errortype", "")
    if aws.startswith("SnapStart") or b"SnapStart" in came.body[:200]:
        return Trouble("no_snapshot", detail)
    body = _object(came.body)
    words = message or str(body.get("Message") or body.get("message") or "")
    for pattern, cause in _BY_WORDS:
        if re.search(pattern, words, re.IGNORECASE):
            return Trouble(cause, detail)
    if cause := _BY_CODE.get(code, ""):
        return Trouble(cause, detail)
    if 300 <= status < 400:
        return Trouble("redirected", f"{status} to {came.headers.get('location', '?')[:100]}")
    if status == 401:
        return Trouble("caller_key" if error else "foreign_401", detail)
    if status == 403:
        forbidden = aws.startswith("AccessDenied") or b'"Forbidden' in came.body
        return Trouble("aws_forbidden" if forbidden else "foreign_403", detail)
    if status in {404, 405}:
        return Trouble("path_unknown", detail)
    if status == 413:
        return Trouble("too_large", detail)
    if status == 429:
        return Trouble("throttled" if aws or not error else "model_limited", detail)
    if status >= 500 and not error and (aws or _LAMBDA_FAILED in came.body[:100].lower()):
        return Trouble("crashed", detail)
    if status >= 500:
        return Trouble("model_down" if code.startswith("upstream_") else "proxy_error", detail)
    return Trouble("bad_request", detail)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _shown(body: bytes) -> str:
    return repr(body[:80].decode("utf-8", "replace"))
