import json
from dataclasses import replace
from pathlib import Path

import pytest

from ops.command_problem import Problem
from ops.connect.deployment import Deployment, stack_deployment, url_deployment

KEY = "the-caller-key"


@pytest.mark.parametrize(
    "url",
    ["http://a.example/v1", "127.0.0.1:8080", "", "ftp://a", "https://[", "https://me:k@a/v1"],
)
def test_a_url_that_the_platform_cannot_call_is_refused(url: str) -> None:
    """Only an https URL is taken, since the key would otherwise be sent in the clear."""
    with pytest.raises(Problem) as refused:
        url_deployment(url, KEY)
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
def test_the_platforms_patience_covers_our_first_words(
    buffer_words_ms: int, budget_ms: int, patience_s: float
) -> None:
    """The cascade timeout is our first words plus the platform's default, within its limits."""
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
def test_the_operators_model_wins_over_the_deployments_and_the_agents(
    deployed_model: str, named_model: str, before: str, model: str
) -> None:
    """The model is the operator's, else the deployment's, else the agent's own."""
    server = Deployment("https://a/v1", KEY, deployed_model)
    assert server.model_for(named_model, before) == model


def test_a_model_that_the_deployment_refuses_is_not_set() -> None:
    """A model outside AllowedModels is refused, unless the deployment chooses the model."""
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
    assert stack_deployment("x", "").allowed_models == ("m1", "m2")


def test_the_key_is_not_in_the_repr() -> None:
    """The deployment's repr has no key."""
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
def test_an_unreadable_stack_says_how_to_name_another_server(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the AWS CLI's own words, and says how to name another server."""
    aws(tmp_path, monkeypatch, script)
    with pytest.raises(Problem) as problem:
        stack_deployment("x", "")
    assert message in str(problem.value)
    assert "STACK=" in str(problem.value)


@pytest.mark.parametrize(
    "held", ["not json: hush", '"hush"', '{"other": "hush"}', '{"key": 5}', '{"key": ""}', "[]"]
)
def test_a_secret_without_a_key_is_not_quoted(
    held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret without a `key` field is not printed, since it may hold a key."""
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"SecretString": held}))
    (tmp_path / "stack").write_text(stack("ServerUrl", "CallerKeySecretArn"))
    script = f'case "$1" in cloudformation) cat {tmp_path}/stack ;; *) cat {answer} ;; esac'
    aws(tmp_path, monkeypatch, script)
    with pytest.raises(Problem) as problem:
        stack_deployment("x", "")
    assert "does not hold" in str(problem.value)
    assert "hush" not in str(problem.value)
    assert problem.value.__suppress_context__


def test_without_the_aws_cli_a_url_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the AWS CLI the message says to give a URL."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="URL="):
        stack_deployment("x", "")
