"""Which URLs lead to a turn."""

from __future__ import annotations

import httpx2
import pytest

from tests.support.deployment import chat, error_of, spoken


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions//",
        "/v1/chat/completions/chat/completions",
        "/chat/completions/chat/completions/chat/completions",
        "/v1/v1/chat/completions",
        "/any/where/else/chat/completions",
        "//v1//chat/completions",
        "/v1/chat/completions?api-version=2024-10-21&x=%20",
        "/%E2%82%AC/chat/completions",
        "/a%2Fb/chat/completions",
    ],
)
async def test_any_path_with_the_right_end_works(client: httpx2.AsyncClient, path: str) -> None:
    """People paste base URLs with suffixes, without versions or with extra slashes."""
    response = await client.post(path, json=chat(stream=True))
    assert response.status_code == 200
    assert spoken(response.content) == "Hello there."


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/completions",
        "/v1/chat",
        "/v1/xchat/completions",
        "/v1/chat/completionsx",
        "/v1/chat/completions/x",
        "/v1/chat%2Fcompletionsx",
        "/docs",
        "/%00",
        "/%FF",
    ],
)
async def test_a_path_with_another_end_is_a_404(client: httpx2.AsyncClient, path: str) -> None:
    """This includes similar paths and FastAPI's own pages."""
    error_of(await client.post(path, json=chat()), 404, "not_found")
