"""What AWS's own tools make of template and samconfig.toml; they live in the SAM CLI's venv."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

TRANSFORM = """
import json, sys
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

class NoPolicies:
    def load(self):
        return {}

template = yaml_parse(sys.stdin.read())
template["Resources"]["CompletionsFunction"]["Properties"]["CodeUri"] = "s3://bucket/code"
template["Resources"]["StreamingLayer"]["Properties"]["ContentUri"] = "s3://bucket/layer"
json.dump(transform(template, json.loads(sys.argv[1]), NoPolicies())["Resources"], sys.stdout)
"""

OVERRIDES = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
print(json.dumps(CfnParameterOverridesType().convert(json.load(sys.stdin), None, None)))
"""


@pytest.fixture(scope="module")
def resources(root: Path) -> dict[str, Any]:
    done = subprocess.run(
        [root / ".venv-sam/bin/python", "-c", TRANSFORM, "{}"],
        input=(root / "template.yaml").read_bytes(),
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of_kind(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {key: item for key, item in resources.items() if item["Type"] == kind}


def test_the_url_points_at_the_published_version(resources: dict[str, Any]) -> None:
    """The URL is the alias's, so that it reaches the version that has a snapshot."""
    (url,) = of_kind(resources, "AWS::Lambda::Url").values()
    ((alias_id, alias),) = of_kind(resources, "AWS::Lambda::Alias").items()
    (version_id,) = of_kind(resources, "AWS::Lambda::Version")
    assert url["Properties"]["TargetFunctionArn"] == {"Ref": alias_id}
    assert alias["Properties"]["FunctionVersion"] == {"Fn::GetAtt": [version_id, "Version"]}


def test_anyone_may_reach_the_url(resources: dict[str, Any]) -> None:
    """Both permissions that a public URL needs are there; the caller key guards it."""
    permissions = of_kind(resources, "AWS::Lambda::Permission").values()
    assert {item["Properties"]["Action"] for item in permissions} == {
        "lambda:InvokeFunctionUrl",
        "lambda:InvokeFunction",
    }
    assert {item["Properties"]["Principal"] for item in permissions} == {"*"}


def test_a_superseded_version_is_deleted(resources: dict[str, Any]) -> None:
    """Only the version behind the URL is kept, because each kept snapshot is paid for."""
    (version,) = of_kind(resources, "AWS::Lambda::Version").values()
    assert version["DeletionPolicy"] == "Delete"


def test_the_output_names_the_url(resources: dict[str, Any]) -> None:
    """The logical id that the output ServerUrl asks for is the one SAM makes."""
    assert list(of_kind(resources, "AWS::Lambda::Url")) == ["CompletionsFunctionUrl"]


def test_the_examples_in_samconfig_say_what_they_mean(root: Path, template: dict[str, Any]) -> None:
    """SAM reads each parameter of samconfig.toml, the proposed ones too, as the template wants."""
    text = re.sub(
        r"^  # (?=[\"'])", "  ", (root / "samconfig.toml").read_text(), flags=re.MULTILINE
    )
    given = tomllib.loads(text)["default"]["global"]["parameters"]["parameter_overrides"]
    done = subprocess.run(
        [root / ".venv-sam/bin/python", "-c", OVERRIDES],
        input=json.dumps(given),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read.keys() == {item.partition("=")[0] for item in given}
    assert json.loads(read["UpstreamExtraBody"]) == {"service_tier": "priority"}
    assert len(json.loads(read["BufferWords"])) == 2
    for name, value in read.items():
        parameter = template["Parameters"][name]
        assert value in parameter.get("AllowedValues", [value])
        assert re.search(parameter.get("AllowedPattern", ""), value)
