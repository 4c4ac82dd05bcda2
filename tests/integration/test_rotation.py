"""Keys are rotated while callers talk, against moto's Secrets Manager: not one turn fails."""

from __future__ import annotations

import json
from typing import Any

import boto3
import httpx2
import pytest

from local.deployment import CALLER_SECRET, ROOT, UPSTREAM_SECRET, Deployment
from local.layout import local_credentials
from local.scripted.upstream import ScriptedUpstream
from local.template import Template
from tests.support.deployment import CALM_ENVIRONMENT
from tests.support.rotation import Callers, Provider

TTL_S = 1
SHIFT = 40
"""Turns between two steps of the rotation."""


def _secrets(deployment: Deployment) -> Any:
    """Return an operator's client."""
    assert deployment.secrets is not None
    environment = local_credentials()
    return boto3.client(
        "secretsmanager",
        endpoint_url=deployment.secrets.address,
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.mark.parametrize(("transport", "callers"), [("lambda", 4), ("uvicorn", 16)])
async def test_a_rotation_under_load_fails_no_turn(transport: str, callers: int) -> None:
    """Both keys are rotated, then Secrets Manager goes down, and every turn is answered."""
    names = {secret.logical_id: secret.name for secret in Template(ROOT / "template.yaml").secrets}
    provider = Provider("model-1")
    async with (
        ScriptedUpstream(provider) as upstream,
        Deployment(
            upstream=upstream.base_url,
            upstream_key="model-1",
            caller_key="caller-1",
            transport=transport,
            limit=3 * callers,
            environment={**CALM_ENVIRONMENT, "COMPLETIONS_KEY_TTL_S": str(TTL_S)},
        ) as deployment,
        httpx2.AsyncClient(base_url=deployment.url) as client,
    ):
        operator = _secrets(deployment)

        def put(secret: str, **value: str) -> None:
            operator.put_secret_value(SecretId=names[secret], SecretString=json.dumps(value))

        async with Callers(client, callers, "caller-1") as load:
            await load.more(SHIFT)
            # The provider accepts both keys while both are needed.
            provider.accepts.add("model-2")
            put(UPSTREAM_SECRET, upstream="model-2")
            await load.more(SHIFT)
            provider.accepts.remove("model-1")
            await load.more(SHIFT)
            # The new key is stored and at once the only valid one.
            put(UPSTREAM_SECRET, upstream="model-3")
            provider.accepts = {"model-3"}
            await load.more(SHIFT)
            # Half of the callers use the new key at once.
            put(CALLER_SECRET, key="caller-2")
            load.keys = ("caller-1", "caller-2")
            await load.more(SHIFT)
            # A wrong value is stored and corrected by a rotation.
            operator.put_secret_value(SecretId=names[UPSTREAM_SECRET], SecretString='{"upstream')
            await load.more(SHIFT)
            put(UPSTREAM_SECRET, upstream="model-4")
            provider.accepts = {"model-4"}
            await load.more(SHIFT)
        assert deployment.secrets is not None
        await deployment.secrets.stop()
        # An environment that slept through the last rotations has the keys from before them,
        # which a provider accepts for a while, and only callers with those.
        provider.accepts |= set(provider.shown)
        # Half as many, since an environment that starts now could not read any key.
        async with Callers(client, callers // 2, "caller-1") as bridged:
            while "key.bridged" not in deployment.log_text():
                await bridged.more(SHIFT)
            await bridged.more(SHIFT)
        log = deployment.log_text()
    assert load.failed + bridged.failed == []
    assert {"model-1", "model-2", "model-3", "model-4"} == set(provider.shown)
    for event in ("key.unavailable", "key.missing", "auth.refused", "request.failed", "ERROR"):
        assert event not in log
    turns = f"{load.turns} turns, {bridged.turns} without Secrets Manager, none failed"
    print(f"{transport}: {turns}; the model's provider refused {provider.refused} requests")
