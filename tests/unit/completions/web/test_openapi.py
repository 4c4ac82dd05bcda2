"""The OpenAPI document: the app's routes, served by the app.

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


async def test_the_app_serves_the_document() -> None:
    """`GET /v1/openapi.json` returns the document, and so does `app.openapi()`."""
    app = deploy("http://unused.invalid")
    async with calling(app) as client:
        response = await client.get("/v1/openapi.json")
    assert response.json() == openapi.document() == app.openapi()


def test_every_route_is_described_and_no_other() -> None:
    """The document has the app's routes, without their path converters."""
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
    """Changing one document does not change the next."""
    openapi.document()["paths"].clear()
    assert openapi.document()["paths"]


@pytest.mark.parametrize("name", ["ChatRequest", "ResponsesRequest"])
def test_the_wait_by_header_has_the_limit_of_the_wait_by_body(name: str) -> None:
    """The header's pattern accepts just the numbers up to the limit."""
    paths = openapi.document()["paths"].values()
    wanted = f"#/components/schemas/{name}"
    (turn,) = (one["post"] for one in paths if wanted in str(one.get("post")))
    (header,) = (one for one in turn["parameters"] if one["name"] == BUFFER_WORDS_HEADER)
    pattern = re.compile(header["schema"]["pattern"])
    taken = [ms for ms in range(100_000) if pattern.search(str(ms))]
    assert taken == [*range(AFTER_LIMIT_MS + 1)]
    assert pattern.search("")
