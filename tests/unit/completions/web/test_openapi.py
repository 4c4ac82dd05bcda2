"""The OpenAPI document: the app's routes, handed out by the app.

`tests/integration/test_openapi.py` makes requests from its schemas.
"""

from __future__ import annotations

import re

from starlette.routing import Route

from completions.web import openapi
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
