import json
from dataclasses import replace
from pathlib import Path

import pytest

from ops.command_problem import Problem
from ops.connect.deployment import Deployment, deployed, named

KEY = "the-caller-key"


@pytest.mark.parametrize(
    "url",
    ["http://a.example/v1", "127.0.0.1:8080", "", "ftp://a", "https://[", "https://me:k@a/v1"],
)
def test_what_the_platform_cannot_call_is_refused(url: str) -> None:
    """Only https, and only a URL: else the key would go in the clear, or nowhere."""
    with pytest.raises(Problem) as refused:
        named(url, KEY)
    assert refused.value.status == 2


@pytest.mark.parametrize(
    ("buffer_words_ms", "budget_ms", "patience_s"),
    [
        (1500, 12000, 5.5),
        (500, 12000, 4.5),
        (0, 12000, 15),
        (0, 6000, 10),
        (60000, 3000, 7),
        (0, 0, 15),
    ],
)
def test_the_platform_waits_until_something_is_said(
    buffer_words_ms: int, budget_ms: int, patience_s: float
) -> None:
    """Its patience outlasts our first words by its own default, within what it takes."""
    server = Deployment("https://a/v1", KEY, "", buffer_words_ms, budget_ms)
    assert server.patience_s == patience_s


@pytest.mark.parametrize(
    ("deployed_model", "named_model", "before", "model"),
    [
        ("a", "", "b", "a"),
        ("", "", "b", "b"),
        ("", "c", "b", "c"),
        ("a", "c", "b", "c"),
    ],
)
def test_a_model_told_wins_over_the_deployed_one_and_that_over_the_agents(
    deployed_model: str, named_model: str, before: str, model: str
) -> None:
    """The agent sends what the operator says, else what will be asked anyway, else what it did."""
    server = Deployment("https://a/v1", KEY, deployed_model)
    assert server.model_for(named_model, before) == model


def test_a_model_that_the_deployment_refuses_is_not_set() -> None:
    """Outside AllowedModels each turn would fail, unless the deployment chooses the model."""
    server = Deployment("https://a/v1", KEY, allowed_models=("m1", "m2"))
    assert server.model_for("m2", "") == "m2"
    with pytest.raises(Problem, match="m1, m2"):
        server.model_for("m3", "m1")
    assert replace(server, model="m").model_for("m3", "") == "m3"


@pytest.mark.parametrize("listed", ['["m1", "m2"]', "m1, m2"])
def test_allowed_models_are_read_in_both_spellings(
    listed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parameter is a JSON list, or names with commas."""
    facts = json.loads(stack("ServerUrl", "CallerKeySecretArn"))
    facts["Stacks"][0]["Parameters"] = [{"ParameterKey": "AllowedModels", "ParameterValue": listed}]
    (tmp_path / "stack").write_text(json.dumps(facts))
    (tmp_path / "answer").write_text(json.dumps({"SecretString": '{"key": "k"}'}))
    script = (
        f'case "$1" in cloudformation) cat {tmp_path}/stack ;; *) cat {tmp_path}/answer ;; esac'
    )
    aws(tmp_path, monkeypatch, script)
    assert deployed("x", "").allowed_models == ("m1", "m2")


def test_the_key_is_not_in_the_repr() -> None:
    """A traceback that prints the deployment prints no key."""
    assert KEY not in repr(Deployment("https://a/v1", KEY))


def aws(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = folder / "aws"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def stack(*outputs: str) -> str:
    listed = [{"OutputKey": name, "OutputValue": "https://a/v1"} for name in outputs]
    return json.dumps({"Stacks": [{"Outputs": listed}]})


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Stack with id x does not exist' >&2; exit 254", "x does not exist"),
        ("exit 1", "aws cloudformation failed."),
        ("echo '{}'", "not one of this repository"),
        ("echo nonsense", "not one of this repository"),
        (f"echo '{stack('ServerUrl')}'", "CallerKeySecretArn"),
    ],
)
def test_a_stack_that_cannot_be_read_says_what_else_to_name(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The AWS CLI's own words come through, and how to name another server."""
    aws(tmp_path, monkeypatch, script)
    with pytest.raises(Problem) as problem:
        deployed("x", "")
    assert message in str(problem.value)
    assert "STACK=" in str(problem.value)


@pytest.mark.parametrize(
    "held", ["not json: hush", '"hush"', '{"other": "hush"}', '{"key": 5}', '{"key": ""}', "[]"]
)
def test_a_secret_without_a_key_is_not_quoted(
    held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the secret holds in the key's place may be a key, so it is not shown."""
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"SecretString": held}))
    (tmp_path / "stack").write_text(stack("ServerUrl", "CallerKeySecretArn"))
    script = f'case "$1" in cloudformation) cat {tmp_path}/stack ;; *) cat {answer} ;; esac'
    aws(tmp_path, monkeypatch, script)
    with pytest.raises(Problem) as problem:
        deployed("x", "")
    assert "does not hold" in str(problem.value)
    assert "hush" not in str(problem.value)
    assert problem.value.__suppress_context__


def test_without_the_aws_cli_a_url_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no AWS CLI learns how to do without."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="URL="):
        deployed("x", "")
