"""A deployment whose model is on Amazon Bedrock, without a stored key."""

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import botocore.session
import httpx2
import pytest

from completions.app import create_app
from completions.settings import Settings
from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from tests.support import aws
from tests.support.bedrock import verdict
from tests.support.deployment import unused_port
from tests.support.stack import deploy

pytestmark = [pytest.mark.built, pytest.mark.slow]

HOST = "bedrock-runtime.us-east-1.amazonaws.com"
ARN = "arn:aws:bedrock:us-east-1::foundation-model/openai.gpt-oss-20b-1:0"
UNHURRIED = ["BufferWordsAfterMs=0", "FirstTokenTimeoutMs=0", "TurnBudgetMs=0"]


async def test_it_answers_without_any_upstream_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `make upstream-key` the role makes the key, and Bedrock would accept it."""
    resolve = socket.getaddrinfo

    def here(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if host == HOST else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with aws.Account() as account, unused_port() as port:
        model = f"UpstreamBaseUrl=http://{HOST}:{port}/openai/v1"
        stack = deploy(account, "default", tmp_path, model, f"BedrockModelArns={ARN}", *UNHURRIED)
        for name, value in account.environment.items():
            monkeypatch.setenv(name, value)
        secret = account.client("secretsmanager").get_secret_value(
            SecretId=stack.variables["COMPLETIONS_CALLER_KEY_SECRET"]
        )
        # moto keeps variables as numbers that look like numbers.
        variables = {name: str(value) for name, value in stack.variables.items()}
        app = create_app(Settings.from_environment(variables))
        upstream = ScriptedUpstream(answer("Oil the chain."))
        await upstream.start(port)
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as client:
                key = json.loads(secret["SecretString"])["key"]
                came = await client.post(
                    "http://function/v1/chat/completions",
                    headers={"authorization": f"Bearer {key}"},
                    json={"messages": [{"role": "user", "content": "It squeaks."}], "stream": True},
                )
            request = await upstream.request()
        finally:
            await upstream.stop()
        granted = account.client("iam").get_role_policy(
            RoleName=stack.ids["CompletionsRole"], PolicyName="bedrock"
        )
    assert "".join(re.findall(r'"content":"([^"]*)"', came.text)) == "Oil the chain."
    (bearer,) = (value for name, value in request.headers if name == "authorization")
    credentials = botocore.session.Session().get_credentials().get_frozen_credentials()
    assert verdict(bearer.removeprefix("Bearer "), credentials, "us-east-1", time.time()) == ""
    assert ARN in str(granted["PolicyDocument"])
