"""HTTP events of every sender, and ASGI applications to answer them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from lambda_streaming.asgi import Receive, Scope, Send
from lambda_streaming.invocations import RuntimeLoop

URL_EVENT = json.loads(
    (Path(__file__).parents[1] / "reference" / "url-event.json").read_text("utf-8")
)

Serve = Callable[..., Awaitable[RuntimeLoop]]
HEADERS = {"host": "a.b", "x-forwarded-proto": "https"}
BUFFERED = {
    "HTTP API": {
        **URL_EVENT,
        "requestContext": {
            **URL_EVENT["requestContext"],
            "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
        },
    },
    "REST API": {
        "resource": "/{proxy+}",
        "path": "/sse",
        "httpMethod": "GET",
        "headers": HEADERS,
        "requestContext": {"identity": {"sourceIp": "203.0.113.9"}},
    },
    "load balancer": {
        "path": "/sse",
        "httpMethod": "GET",
        "headers": HEADERS,
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
    },
    "Lambda@Edge": {
        "Records": [
            {
                "cf": {
                    "request": {
                        "uri": "/sse",
                        "method": "GET",
                        "querystring": "",
                        "clientIp": "203.0.113.9",
                        "headers": {"host": [{"key": "Host", "value": "a.b"}]},
                    }
                }
            }
        ]
    },
}


async def respond(send: Send, data: bytes = b"", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": data})


async def chatty(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with everything that the formats write differently."""
    headers = [(b"content-type", b"text/plain"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})
