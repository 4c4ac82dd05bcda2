"""`sam deploy` into moto, and what it deployed, running here."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from tests.support import aws, sam
from tests.support.deployment import unused_port
from tests.support.stack import Packages, Stack, deploy, running

pytestmark = [pytest.mark.built, pytest.mark.slow]

UPSTREAM_KEY = "sk-of-the-stage"
MODES = ("RESPONSE_STREAM", "BUFFERED")
PARAMETERS = [
    # No buffer words because of a busy machine.
    *("BufferWordsAfterMs=0", "FirstTokenTimeoutMs=0", "TurnBudgetMs=0", "StallTimeoutMs=0"),
]


@pytest.fixture(scope="module")
def account() -> Iterator[aws.Account]:
    """One account for all tests, so that packages are uploaded once."""
    with aws.Account() as account:
        yield account


@pytest.fixture(scope="module")
def upstream_port() -> Iterator[int]:
    """The port on which every deployment's model listens."""
    with unused_port() as port:
        yield port


@pytest.fixture(scope="module")
def packages(account: aws.Account, tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(account, tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module", params=sam.stages())
def stage(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def stack(
    account: aws.Account,
    stage: str,
    mode: str,
    upstream_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A stage in one invoke mode, as after `make upstream-key`."""
    folder = tmp_path_factory.mktemp("deploy")
    model = f"UpstreamBaseUrl=http://127.0.0.1:{upstream_port}/v1"
    stack = deploy(account, stage, folder, f"InvokeMode={mode}", model, *PARAMETERS)
    account.client("secretsmanager").put_secret_value(
        SecretId=stack.variables["COMPLETIONS_UPSTREAM_KEY_SECRET"],
        SecretString=json.dumps({"upstream": UPSTREAM_KEY}),
    )
    yield stack
    account.client("cloudformation").delete_stack(StackName=stack.name)


async def ask(url: str, key: str) -> str:
    """Return one streamed turn, as an OpenAI client reads it."""
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="voice", messages=[{"role": "user", "content": "It squeaks."}], stream=True
        )
        pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    return "".join(piece for piece in pieces if piece)


async def test_what_was_deployed_answers_calls(
    packages: Packages, stack: Stack, mode: str, upstream_port: int, tmp_path: Path
) -> None:
    """The deployed code, handler, layers, variables and keys answer an OpenAI client."""
    secret = packages.account.client("secretsmanager").get_secret_value(
        SecretId=stack.variables["COMPLETIONS_CALLER_KEY_SECRET"]
    )
    upstream = ScriptedUpstream(answer("Oil the chain."))
    await upstream.start(upstream_port)
    try:
        async with running(packages, stack, tmp_path) as url:
            heard = await ask(url, json.loads(secret["SecretString"])["key"])
            with pytest.raises(openai.AuthenticationError):
                await ask(url, "another-key")
        request = await upstream.request()
    finally:
        await upstream.stop()
    assert heard == "Oil the chain."
    assert ("authorization", f"Bearer {UPSTREAM_KEY}") in request.headers
    assert stack.invoke_mode == mode
    assert ("AWS_LAMBDA_EXEC_WRAPPER" in stack.variables) is (mode == "RESPONSE_STREAM")
    # What dashboard and alarms look for.
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line]
    measured = [line for line in lines if "_aws" in line]
    assert sum("FirstTokenMs" in line for line in measured) == 1
    assert sum("AuthFailures" in line for line in measured) == 1
    for line in measured:
        assert line["service"] == stack.name
        assert {each["Namespace"] for each in line["_aws"]["CloudWatchMetrics"]} == {
            "VoiceCompletions"
        }


def test_the_stage_is_what_samconfig_says(account: aws.Account, stack: Stack, stage: str) -> None:
    """Stack, parameters and tags are the stage's and reach the resources."""
    (made,) = account.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"]
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == {
        "application": "voice-completions",
        "stage": stage,
    }
    values = {each["ParameterKey"]: each["ParameterValue"] for each in made["Parameters"]}
    configured = {**sam.stage(stage).parameters, "Architecture": values["Architecture"]}
    assert values.items() >= configured.items()
    (log,) = account.client("logs").describe_log_groups(
        logGroupNamePrefix=stack.ids["CompletionsLogGroup"]
    )["logGroups"]
    assert log["retentionInDays"] == int(values["LogRetentionDays"])
    assert stack.function["Timeout"] == int(values["TimeoutS"])
    assert stack.function["MemorySize"] == int(values["MemorySize"])
    assert "CAPABILITY_IAM" in stack.output


def test_the_role_is_for_these_resources(account: aws.Account, stack: Stack) -> None:
    """The function's role names the two secrets and the log group of its own stack."""
    role = stack.ids["CompletionsRole"]
    assert stack.function["Role"].endswith(f"/{role}")
    iam = account.client("iam")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    # moto keeps what CloudFormation made of it as Python writes it.
    document = ast.literal_eval(
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    )
    (log,) = account.client("logs").describe_log_groups(
        logGroupNamePrefix=stack.ids["CompletionsLogGroup"]
    )["logGroups"]
    read, write = (statement["Resource"] for statement in document["Statement"])
    assert read == [
        stack.variables[f"COMPLETIONS_{name}_KEY_SECRET"] for name in ("CALLER", "UPSTREAM")
    ]
    assert write.removesuffix(":*") == log["arn"].removesuffix(":*")


def test_the_dashboard_is_about_this_stack(account: aws.Account, stack: Stack) -> None:
    """The dashboard is valid JSON, and all its metrics are this stack's."""
    body = account.client("cloudwatch").get_dashboard(
        DashboardName=stack.ids["CompletionsDashboard"]
    )["DashboardBody"]
    assert "${" not in body
    widgets = json.loads(body)["widgets"]
    rows = [row for one in widgets for row in one["properties"].get("metrics", ()) if len(row) > 1]
    names = {row[3] for row in rows}
    assert names == {stack.name, stack.ids["CompletionsFunction"]}
