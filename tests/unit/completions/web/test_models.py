"""The list of models, and a request that names none."""

from __future__ import annotations

from urllib.parse import quote

import httpx2
import pytest

from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import CALM, calling, chat, deploy, error_of
from tests.support.logs import Logged

CHAT = "/v1/chat/completions"


async def test_the_list_is_the_upstreams(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Where the caller names the model, the upstream's list is passed on."""
    upstream.models = ("small", "large")
    response = await client.get("/v1/models")
    assert [model["id"] for model in response.json()["data"]] == ["small", "large"]


async def test_a_fixed_model_is_the_only_one_listed(upstream: ScriptedUpstream) -> None:
    """Where the deployment names the model, the list is that model, and no upstream is asked."""
    async with calling(deploy(upstream.base_url, upstream_model="fixed")) as client:
        response = await client.get("/v1/models")
    assert [model["id"] for model in response.json()["data"]] == ["fixed"]
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["small", "meta-llama/Llama-3.3-70B", "models/m", "a b/é"])
@pytest.mark.parametrize("base", ["/v1/models/", "/models/", "/any//where/models/"])
async def test_one_model_is_found_by_its_id(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, name: str, base: str
) -> None:
    """Clients look up a model before they use it; its id may contain slashes, escaped or not."""
    upstream.models = ("large", name)
    for path in (quote(name), quote(name, safe=""), quote(name) + "/"):
        response = await client.get(base + path)
        assert (response.status_code, response.json()["id"]) == (200, name)
    error = error_of(await client.get(base + "smaller"), 404, "model_not_found")
    assert error["param"] == "model"


async def test_allowed_models_are_found_without_asking_the_upstream(
    upstream: ScriptedUpstream,
) -> None:
    """The deployment's list is complete; a key is required as elsewhere."""
    async with calling(deploy(upstream.base_url, allowed_models=("a/b",))) as client:
        assert (await client.get("/v1/models/a/b")).json()["id"] == "a/b"
        error_of(await client.get("/v1/models/b"), 404, "model_not_found")
        error_of(
            await client.get("/v1/models/b", headers={"authorization": ""}), 401, "invalid_api_key"
        )
    assert upstream.requests == []


async def test_a_request_without_a_model_is_logged(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, logs: Logged
) -> None:
    """Some platforms name none; unless the deployment names one, the log says what to set."""
    assert (await client.post(CHAT, json=chat(model=None))).status_code == 200
    assert "UpstreamModel" in logs.event("model.missing")["expected"]
    async with calling(deploy(upstream.base_url, upstream_model="m", **CALM)) as own:
        await own.post(CHAT, json=chat(model=None))
    assert logs.text.count("model.missing") == 1
