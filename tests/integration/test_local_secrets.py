"""A local deployment's Secrets Manager, read with boto3 as by the function."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from local import secrets
from local.intrinsics import REGION
from local.template import Secret

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECLARED = (
    Secret("CallerKeySecret", "caller", generate={"GenerateStringKey": "key"}),
    Secret("MadeSecret", "made", generate={"GenerateStringKey": "key", "PasswordLength": 48}),
    Secret("WordSecret", "word", generate={}),
    Secret("FixedSecret", "fixed", value="as it is"),
    Secret("EmptySecret", "empty"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint() -> AsyncIterator[str]:
    """An endpoint with the declared secrets and a given caller key."""
    service = await secrets.start(sys.stderr)
    await secrets.create(service.address, DECLARED, {"CallerKeySecret": {"key": "given"}})
    yield service.address
    await service.stop()


async def read(endpoint: str, secret_id: str) -> str:
    def call() -> Any:
        client = boto3.client(
            "secretsmanager",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        try:
            return client.get_secret_value(SecretId=secret_id)["SecretString"]
        finally:
            client.close()

    return str(await asyncio.to_thread(call))


async def test_given_values_win(endpoint: str) -> None:
    """A value given for a logical id replaces the generated one."""
    assert json.loads(await read(endpoint, "caller")) == {"key": "given"}


async def test_secrets_are_found_by_the_arn_that_a_template_refers_to(endpoint: str) -> None:
    """A secret can be read by the ARN that `Ref` resolves to, and by its name."""
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:caller"
    assert json.loads(await read(endpoint, arn)) == {"key": "given"}


async def test_values_are_generated_as_declared(endpoint: str) -> None:
    """Without a given value a secret gets a password, in JSON if the template names a key."""
    assert len(json.loads(await read(endpoint, "made"))["key"]) == 48
    assert len(await read(endpoint, "word")) == secrets.PASSWORD_LENGTH
    assert await read(endpoint, "fixed") == "as it is"


async def test_a_secret_without_a_value_cannot_be_read(endpoint: str) -> None:
    """A secret declared without a value exists, and reading it gives AWS's error."""
    with pytest.raises(ClientError) as refusal:
        await read(endpoint, "empty")
    assert refusal.value.response["Error"]["Code"] == "ResourceNotFoundException"
