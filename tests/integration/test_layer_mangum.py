"""One FastAPI + Mangum application, unchanged, under Mangum alone and under the layer."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.layer import STREAMING_APP, UnpackedLayer
from tests.support.runtime_api import FakeRuntimeApi

URL_EVENT = json.loads(
    (Path(__file__).parents[1] / "reference" / "url-event.json").read_text("utf-8")
)


def url_event(method: str, path: str, query: str = "", body: bytes | None = None) -> dict[str, Any]:
    http = {**URL_EVENT["requestContext"]["http"], "method": method, "path": path}
    event = {
        **URL_EVENT,
        "rawPath": path,
        "rawQueryString": query,
        "requestContext": {**URL_EVENT["requestContext"], "http": http},
    }
    if body is not None:
        event |= {"body": b64encode(body).decode(), "isBase64Encoded": True}
    return event


EVENTS = {
    "json": url_event("GET", "/json", "a=1&b=%20"),
    "stream": url_event("GET", "/sse", "n=3"),
    "empty stream": url_event("GET", "/sse", "n=0"),
    "bytes": url_event("POST", "/echo", body=bytes(range(256)) * 100),
    "nothing": url_event("POST", "/echo", body=b""),
    "cookies": url_event("GET", "/cookies"),
    "redirect": url_event("GET", "/elsewhere"),
    "not found": url_event("GET", "/nowhere"),
    "bad input": url_event("GET", "/sse", "n=x"),
    "wrong method": url_event("DELETE", "/json"),
    "broken": url_event("GET", "/broken"),
}


@pytest.fixture
async def streamed(tmp_path: Path) -> AsyncIterator[FakeRuntimeApi]:
    """A Runtime API whose environment runs the application under the layer."""
    layer = UnpackedLayer(tmp_path)
    shutil.copy(STREAMING_APP, layer.task / "function.py")
    async with FakeRuntimeApi() as api:
        await layer.start(api)
        yield api
        await layer.end()


def buffered(event: dict[str, Any]) -> dict[str, Any]:
    """Return Mangum's own answer, called as by AWS's own runtime."""
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        handler: Any = import_module("tests.support.streaming_app").handler
        answer: dict[str, Any] = handler(event, None)
    return answer


async def test_both_answers_are_the_same(streamed: FakeRuntimeApi) -> None:
    """Status, headers, cookies and body are the same with and without the layer."""
    for name, event in EVENTS.items():
        streamed.invoke(event)
        post = await streamed.post()
        prelude, body = await post.prelude(), await post.body()
        expected = await asyncio.to_thread(buffered, event)
        assert post.header("lambda-runtime-function-response-mode") == "streaming", name
        assert prelude["statusCode"] == expected["statusCode"], name
        # NOTE: Mangum adds a content type if the application sends none (a redirect).
        invented = {"content-type": "application/json"}
        assert invented | prelude.get("headers", {}) == invented | expected["headers"], name
        assert prelude.get("cookies") == expected.get("cookies"), name
        text = expected["body"]
        assert body == (b64decode(text) if expected["isBase64Encoded"] else text.encode()), name
        assert not post.trailers, name
