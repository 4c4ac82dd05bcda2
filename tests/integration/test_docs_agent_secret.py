"""The agent in docs/agents.md with its own variable, secret and permission."""

from __future__ import annotations

import re
import shutil
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from local.deployment import Deployment, passed_variables
from local.intrinsics import read
from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "docs/agents.md").read_text().partition("\n## Variables, secrets, rights\n")[2]
VARIABLES, RESOURCES = re.findall(r"(?ms)^```yaml\n(.*?)^```", SECTION)[:2]
(AGENT,) = re.findall(r"(?ms)^```python\n(.*?)^```", SECTION.partition("\n## ")[0])
ANSWER = """
from completions.responder import Say

async def answer(conversation):
    yield Say(await stock("bell"))
"""


class Shop(BaseHTTPRequestHandler):
    """The shop's API, which requires a key."""

    def do_GET(self) -> None:
        known = self.headers["authorization"] == "Bearer the-key"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b"Two of " + self.path.encode() if known else b"Who are you?")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    """The API's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/stock"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The template with the document's lines added, and the agent installed."""
    shutil.copytree(ROOT / "functions", tmp_path / "functions")
    (tmp_path / "layers").symlink_to(ROOT / "layers")
    agents = tmp_path / "functions/completions/agents"
    (agents / "shop.py").write_text(AGENT + ANSWER)
    text = (ROOT / "template.yaml").read_text()
    text = re.sub(r"(?m)^( +)COMPLETIONS_RESPONDER:.*\n", lambda line: line[0] + _at(line[1]), text)
    text = text.replace("\nOutputs:", "\n" + textwrap.indent(RESOURCES, "  ") + "\nOutputs:")
    path = tmp_path / "template.yaml"
    path.write_text(text)
    return path


def _at(indent: str) -> str:
    return textwrap.indent(VARIABLES, indent)


async def test_an_agent_reads_its_own_variable_and_secret(template: Path, shop: str) -> None:
    """The agent asks the address in its variable, with the key in its secret."""
    async with (
        ScriptedUpstream(answer()) as upstream,
        Deployment(
            template=template,
            parameters={"Responder": "completions.agents.shop:answer"},
            environment=passed_variables({"SHOP_URL": shop, "HOME": "/"}, template),
            secret_values={"ShopSecret": "the-key"},
            upstream=upstream.base_url,
        ) as deployment,
        openai.AsyncOpenAI(base_url=deployment.base_url, api_key=deployment.caller_key) as client,
    ):
        said = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Bells?"}]
        )
    assert said.choices[0].message.content == "Two of /stock?product=bell"


def test_the_role_may_read_that_secret_and_no_more(template: Path) -> None:
    """The function's role may read this secret and no other."""
    resources = read(template)["Resources"]
    policy = resources["ShopPolicy"]["Properties"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert policy["Roles"] == [{"Ref": "CompletionsRole"}]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    assert statement["Resource"] == {"Ref": "ShopSecret"}


def test_variables_reach_the_function_by_the_templates_names(template: Path) -> None:
    """Only variables of the template reach the function, and none of AWS's."""
    environ = {"SHOP_URL": "u", "HOME": "/", "AWS_LAMBDA_EXEC_WRAPPER": "x", "COMPLETIONS_X": "y"}
    assert passed_variables(environ, template) == {"SHOP_URL": "u", "COMPLETIONS_X": "y"}
