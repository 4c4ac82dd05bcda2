"""The function's own URL, as Lambda names it, which leads to its other environments.

Taken from the event's `requestContext`, which Lambda writes, and never from a header. Only a
Function URL of Lambda's counts, so that no caller can send a key elsewhere.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request

# Developer Guide, "Lambda function URLs": https://<url-id>.lambda-url.<region>.on.aws
_ON_LAMBDA = re.compile(r"[a-z0-9]+\.lambda-url\.[a-z0-9-]+\.on\.aws")
_ON_THIS_MACHINE = re.compile(r"127\.0\.0\.1:[0-9]{1,5}")
"""The local deployment, with the port that it listens on."""


def function_url(request: Request) -> str | None:
    """Return scheme and host of the Function URL that received the request, if one did."""
    event: Any = request.scope.get("aws.event")
    try:
        domain = event["requestContext"]["domainName"]
    except (KeyError, TypeError):
        return None
    if not isinstance(domain, str):
        return None
    if _ON_LAMBDA.fullmatch(domain):
        return f"https://{domain}"
    return f"http://{domain}" if _ON_THIS_MACHINE.fullmatch(domain) else None
