"""The OpenAPI document: the app's routes, handed out by the app.

`tests/integration/test_openapi.py` makes requests from its schemas.
"""

from __future__ import annotations

import re

import pytest
from starlette.routing import Route

from completions.dialects.request import AFTER_LIMIT_MS
from completions.web import openapi
from completions.web.request_options import BUFFER_WORDS_HEADER
from tests.support.deployment import calling, deploy


async def test_the_app_hands_out_the_document() -> None:
    """`GET /v1/openapi.json` is the document, and so is `app.openapi()`."""
    app = deploy("http://unused.invalid")
    async with calling(app) as client:
        response = await client.get("/v1/openapi.json")
    assert response.json() == openapi.document() == app.openapi()


def test_every_route_is_described_and_no_other() -> None:
    """The document has the app's routes, without the converters that make them lenient."""
    routes = {
        (method.lower(), re.sub(r"\{(?:prefix|slashes):\w+\}|:path", "", route.path))
        for route in deploy("http://unused.invalid").routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    described = {
        (method, path.removeprefix("/v1"))
        for path, methods in openapi.document()["paths"].items()
        for method in methods
    }
    assert described == routes
    assert ":" not in str([*openapi.document()["paths"]])


def test_each_document_is_new() -> None:
    """Whoever changes a document changes no other caller's."""
    openapi.document()["paths"].clear()
    assert openapi.document()["paths"]


@pytest.mark.parametrize("name", ["ChatRequest", "ResponsesRequest"])
def test_the_wait_by_header_is_bounded_as_the_wait_by_body(name: str) -> None:
    """One limit, in digits for the header."""
    paths = openapi.document()["paths"].values()
    wanted = f"#/components/schemas/{name}"
    (turn,) = (one["post"] for one in paths if wanted in str(one.get("post")))
    (header,) = (one for one in turn["parameters"] if one["name"] == BUFFER_WORDS_HEADER)
    pattern = re.compile(header["schema"]["pattern"])
    taken = [ms for ms in range(100_000) if pattern.search(str(ms))]
    assert taken == [*range(AFTER_LIMIT_MS + 1)]
    assert pattern.search("")
