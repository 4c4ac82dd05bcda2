"""The template after SAM's transform, as CloudFormation gets it, and samconfig.toml."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from completions.app import handler
from lambda_streaming.http_event import takes_a_stream
from local.intrinsics import Resolver
from tests.support import sam

MODES = ["RESPONSE_STREAM", "BUFFERED"]
SECRETS = [{"Ref": "CallerKeySecret"}, {"Ref": "UpstreamKeySecret"}]


@pytest.fixture(scope="module")
def document(root: Path) -> dict[str, Any]:
    return sam.translated((root / "template.yaml").read_text())


@pytest.fixture(scope="module")
def resources(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["Resources"]
    return found


def of_kind(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {key: item for key, item in resources.items() if item["Type"] == kind}


def the(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    (resource,) = of_kind(resources, kind).values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


@pytest.mark.parametrize("stage", sam.stages())
@pytest.mark.parametrize("mode", MODES)
def test_cfn_lint_accepts_the_template(root: Path, stage: str, mode: str) -> None:
    """cfn-lint accepts the transformed template, for each stage and mode."""
    values = {**sam.stage(stage).parameters, "InvokeMode": mode}
    document = sam.translated((root / "template.yaml").read_text(), values)
    assert sam.lint(document, ["us-east-1", "eu-central-1", "ap-southeast-2"]) == []


def test_the_linter_reports_an_unknown_property(document: dict[str, Any]) -> None:
    """cfn-lint reports an unknown property."""
    broken = json.loads(json.dumps(document))
    broken["Resources"]["CompletionsFunction"]["Properties"]["Memory"] = 1
    assert any("Memory" in fault for fault in sam.lint(broken))


def test_the_url_points_at_the_published_version(resources: dict[str, Any]) -> None:
    """The URL belongs to the alias, which points at the version with a snapshot."""
    (url,) = of_kind(resources, "AWS::Lambda::Url").values()
    ((alias_id, alias),) = of_kind(resources, "AWS::Lambda::Alias").items()
    ((version_id, version),) = of_kind(resources, "AWS::Lambda::Version").items()
    assert url["Properties"]["TargetFunctionArn"] == {"Ref": alias_id}
    assert alias["Properties"]["Name"] == "live"
    assert alias["Properties"]["FunctionVersion"] == {"Fn::GetAtt": [version_id, "Version"]}
    assert version["Properties"] == {"FunctionName": {"Ref": "CompletionsFunction"}}


@pytest.mark.parametrize("mode", MODES)
def test_url_and_wrapper_go_together(document: dict[str, Any], mode: str) -> None:
    """The layer is always attached, and its wrapper is set if the URL streams."""
    resources = document["Resources"]
    function = the(resources, "AWS::Lambda::Function")
    (layer_id,) = of_kind(resources, "AWS::Lambda::LayerVersion")
    assert function["Layers"] == [{"Ref": layer_id}]
    resolver = Resolver(document, "translated", {"InvokeMode": mode})
    url = the(resources, "AWS::Lambda::Url")
    assert resolver.resolve(url["InvokeMode"], "InvokeMode") == mode
    wrapper = function["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"]
    streams = mode == "RESPONSE_STREAM"
    assert (resolver.resolve(wrapper, "wrapper") == "/opt/bootstrap") is streams


@pytest.mark.parametrize(("choice", "applied"), [("On", "PublishedVersions"), ("Off", "None")])
def test_snapshots_are_a_choice(document: dict[str, Any], choice: str, applied: str) -> None:
    """SnapStart is on for published versions unless the parameter turns it off."""
    function = the(document["Resources"], "AWS::Lambda::Function")
    resolver = Resolver(document, "translated", {"SnapStart": choice})
    assert resolver.resolve(function["SnapStart"], "SnapStart") == {"ApplyOn": applied}


@pytest.mark.parametrize(("given", "reserved"), [("-1", None), ("0", "0"), ("50", "50")])
def test_concurrency_is_reserved_on_demand(
    document: dict[str, Any], given: str, reserved: str | None
) -> None:
    """-1 reserves nothing, 0 closes the function, and any other number is reserved."""
    name = "ReservedConcurrentExecutions"
    function = the(document["Resources"], "AWS::Lambda::Function")
    resolver = Resolver(document, "translated", {"ReservedConcurrency": given})
    assert resolver.resolve({name: function[name]}, name).get(name) == reserved


def test_a_schedule_keeps_the_snapshot_if_chosen(resources: dict[str, Any]) -> None:
    """The schedule may call the alias with /health; by default there is no schedule."""
    (rule_id,) = of_kind(resources, "AWS::Events::Rule")
    (alias_id,) = of_kind(resources, "AWS::Lambda::Alias")
    (permission,) = (
        item
        for item in of_kind(resources, "AWS::Lambda::Permission").values()
        if "Condition" in item
    )
    rule = resources[rule_id]
    assert rule["Condition"] == permission["Condition"] == "KeepsSnapshot"
    (target,) = rule["Properties"]["Targets"]
    assert target["Arn"] == permission["Properties"]["FunctionName"] == {"Ref": alias_id}
    event = json.loads(target["Input"])
    assert takes_a_stream(event) is False
    scope = handler.infer(event, None).scope  # type: ignore[arg-type] # it is only passed on
    assert (scope["method"], scope["path"]) == ("GET", "/health")


def test_anyone_may_reach_the_url(resources: dict[str, Any]) -> None:
    """A public URL has its two permissions, for the alias and the URL only."""
    permissions = [
        item["Properties"]
        for item in of_kind(resources, "AWS::Lambda::Permission").values()
        if "Condition" not in item
    ]
    (alias_id,) = of_kind(resources, "AWS::Lambda::Alias")
    assert sorted(permissions, key=lambda one: str(one["Action"])) == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": alias_id},
            "InvokedViaFunctionUrl": True,
            "Principal": "*",
        },
        {
            "Action": "lambda:InvokeFunctionUrl",
            "FunctionName": {"Ref": alias_id},
            "FunctionUrlAuthType": "NONE",
            "Principal": "*",
        },
    ]


def test_the_function_may_read_two_secrets_and_write_one_log(resources: dict[str, Any]) -> None:
    """The only role has these actions on these resources, and Bedrock's only if chosen."""
    function = the(resources, "AWS::Lambda::Function")
    (role_id,) = of_kind(resources, "AWS::IAM::Role")
    assert function["Role"] == {"Fn::GetAtt": [role_id, "Arn"]}
    (bedrock,) = of_kind(resources, "AWS::IAM::Policy").values()
    assert not of_kind(resources, "AWS::IAM::ManagedPolicy")
    role = the(resources, "AWS::IAM::Role")
    assert role.keys() == {"Description", "AssumeRolePolicyDocument", "Policies"}
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    (policy,) = role["Policies"]
    granted = [
        (statement["Effect"], statement["Action"], statement["Resource"])
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert granted == [
        ("Allow", "secretsmanager:GetSecretValue", SECRETS),
        (
            "Allow",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            {"Fn::GetAtt": ["CompletionsLogGroup", "Arn"]},
        ),
    ]
    assert bedrock["Condition"] == "AsksBedrock"
    assert bedrock["Properties"]["Roles"] == [{"Ref": role_id}]
    models, keys = bedrock["Properties"]["PolicyDocument"]["Statement"]
    assert models["Resource"] == {"Ref": "BedrockModelArns"}
    assert keys["Action"] == [
        f"{name}:CallWithBearerToken" for name in ("bedrock", "bedrock-mantle")
    ]


def test_the_only_wildcard_is_the_log_streams(document: dict[str, Any]) -> None:
    """No action has a wildcard, and the only one in a resource covers our log group's streams."""
    policies = the(document["Resources"], "AWS::IAM::Role")["Policies"]
    resolved = str(Resolver(document, "translated", {}).resolve(policies, "Policies"))
    assert re.findall(r"[^']*\*[^']*", resolved) == [
        "arn:aws:logs:us-east-1:123456789012:log-group:CompletionsLogGroup:*"
    ]
    assert the(document["Resources"], "AWS::Lambda::Function")["LoggingConfig"]["LogGroup"] == {
        "Ref": "CompletionsLogGroup"
    }


def test_the_secrets_are_two_and_one_is_generated(resources: dict[str, Any]) -> None:
    """The caller key is generated at deployment, the upstream key is not."""
    secrets = of_kind(resources, "AWS::SecretsManager::Secret")
    assert [{"Ref": logical_id} for logical_id in secrets] == SECRETS
    caller, upstream = (secret["Properties"] for secret in secrets.values())
    generated = caller["GenerateSecretString"]
    assert json.loads(generated["SecretStringTemplate"]) == {}
    assert (generated["GenerateStringKey"], generated["PasswordLength"]) == ("key", 48)
    assert upstream.keys() == {"Description"}
    variables = the(resources, "AWS::Lambda::Function")["Environment"]["Variables"]
    assert [variables[f"COMPLETIONS_{name}_KEY_SECRET"] for name in ("CALLER", "UPSTREAM")] == (
        SECRETS
    )


def test_a_superseded_version_is_deleted(resources: dict[str, Any]) -> None:
    """Only the version behind the URL is kept, since every snapshot costs money."""
    (version,) = of_kind(resources, "AWS::Lambda::Version").values()
    assert version["DeletionPolicy"] == "Delete"


def test_the_output_names_the_url(resources: dict[str, Any]) -> None:
    """The output ServerUrl refers to the logical id that SAM generates."""
    assert list(of_kind(resources, "AWS::Lambda::Url")) == ["CompletionsFunctionUrl"]


def test_the_outputs_can_be_pasted(document: dict[str, Any]) -> None:
    """The server's URL ends in /v1, and each output's command and address names its resource."""
    told = {name: output["Value"] for name, output in document["Outputs"].items()}
    assert told["ServerUrl"] == {"Fn::Sub": "${CompletionsFunctionUrl.FunctionUrl}v1"}
    assert "get-secret-value" in told["CallerKeyCommand"]["Fn::Sub"]
    assert "--secret-id ${CallerKeySecret} " in told["CallerKeyCommand"]["Fn::Sub"]
    assert told["UpstreamKeyCommand"] == {
        "Fn::Sub": "make upstream-key STACK=${AWS::StackName} REGION=${AWS::Region}"
    }
    assert told["DashboardUrl"]["Fn::Sub"].endswith("#dashboards/dashboard/${CompletionsDashboard}")


def test_lambdas_own_lines_are_json(resources: dict[str, Any]) -> None:
    """Lambda's own log lines are JSON, so one query also finds its timeouts."""
    assert the(resources, "AWS::Lambda::Function")["LoggingConfig"]["LogFormat"] == "JSON"


def test_the_examples_in_samconfig_are_valid(root: Path, template: dict[str, Any]) -> None:
    """Each parameter in samconfig.toml, commented examples too, is valid for the template."""
    text = re.sub(
        r"^  # (?=[\"'])", "  ", (root / "samconfig.toml").read_text(), flags=re.MULTILINE
    )
    given: list[str] = []
    for stage in sam.stages():
        given += tomllib.loads(text)[stage]["global"]["parameters"]["parameter_overrides"]
    read = sam.parameters(given)
    assert read.keys() == {item.partition("=")[0] for item in given}
    assert json.loads(read["UpstreamExtraBody"]) == {"service_tier": "priority"}
    assert len(json.loads(read["BufferWords"])) == 2
    for name, value in read.items():
        parameter = template["Parameters"][name]
        assert value in [str(one) for one in parameter.get("AllowedValues", [value])]
        assert re.search(parameter.get("AllowedPattern", ""), value)
