"""`make connect` as a user runs it, against the platform's API on loopback."""

import copy
import json
import os
from pathlib import Path

import pytest

from tests.support.connect import KEY, SERVER, Connect, at_terminal
from tests.support.elevenlabs_api import API_KEY, ElevenLabs

NAME = "voice-completions-abc-lambda-url-eu-central-1-on-aws-"
FAKE_AWS = """#!/bin/sh
echo "$@" >> "$AWS_LOG"
case "$*" in
*"cloudformation describe-stacks"*) cat "$STACK_FILE" ;;
*"secretsmanager get-secret-value"*) echo '{"SecretString": "{\\"key\\": \\"'$CALLER'\\"}"}' ;;
*) exit 1 ;;
esac
"""


def test_a_first_connect_sets_only_our_fields(api: ElevenLabs, connect: Connect) -> None:
    """An agent on one of the platform's models is pointed at the server and otherwise unchanged."""
    before = copy.deepcopy(api.agent)
    done = connect()
    assert (done.returncode, done.stderr) == (0, "")
    [secret] = api.secrets
    assert secret["value"] == KEY
    assert secret["name"].startswith(NAME)
    expected = copy.deepcopy(before["conversation_config"])
    expected["agent"]["prompt"] |= {
        "llm": "custom-llm",
        "max_tokens": 5000,
        "cascade_timeout_seconds": 5.5,
        "custom_llm": {
            "url": f"{SERVER}/v1",
            "model_id": "gpt-4.1-mini",
            "api_key": {"secret_id": "secret_0"},
            "api_type": "chat_completions",
            "request_headers": {"x-conversation-id": {"variable_name": "system__conversation_id"}},
        },
    }
    assert api.agent["conversation_config"] == expected
    before["platform_settings"]["overrides"]["custom_llm_extra_body"] = True
    assert api.agent["platform_settings"] == before["platform_settings"]
    assert api.agent["name"] == before["name"]
    assert api.written == ["POST /v1/convai/secrets", "PATCH /v1/convai/agents/agent_front"]
    assert "Empfang Zürich ☎" in done.stdout
    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "LLM gpt-4o -> custom-llm" in shown
    assert "Cascade timeout 4 s -> 5.5 s" in shown
    assert "NOTE" not in done.stdout


def test_a_second_connect_changes_nothing(api: ElevenLabs, connect: Connect) -> None:
    """A run that finds nothing to change says so and writes nothing."""
    connect()
    wrote = api.written
    done = connect(MODEL="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to change" in done.stdout
    assert api.written == wrote


def test_a_rotated_key_is_put_into_the_same_secret(api: ElevenLabs, connect: Connect) -> None:
    """After a rotation the same secret gets the new key, so every agent that uses it follows."""
    connect()
    before = copy.deepcopy(api.agent)
    done = connect(CALLER_KEY="another-key")
    assert (done.returncode, done.stderr) == (0, "")
    assert "replaced. Agents that use it: 1." in done.stdout
    assert [(one["id"], one["value"]) for one in api.secrets] == [("secret_0", "another-key")]
    assert api.agent == before
    assert "nothing to change" in connect(CALLER_KEY="another-key").stdout


def test_a_secret_on_a_later_page_is_found(api: ElevenLabs, connect: Connect) -> None:
    """The search reads every page of secrets, so the one for this server is not made twice."""
    connect()
    others = [{"id": f"other_{n}", "name": f"OTHER_{n}", "value": "x"} for n in range(5)]
    api.secrets[:0] = others
    api.page_size = 2
    assert "nothing to change" in connect().stdout
    assert sum(one.path.endswith("/secrets") and one.method == "GET" for one in api.seen) == 4


def test_two_servers_have_two_secrets(api: ElevenLabs, connect: Connect) -> None:
    """Connecting to another server leaves the first one's secret unchanged."""
    connect()
    done = connect(URL="https://other.example/v1", CALLER_KEY="other-key")
    assert done.returncode == 0, done.stderr
    assert [one["value"] for one in api.secrets] == [KEY, "other-key"]
    assert api.prompt["custom_llm"]["api_key"] == {"secret_id": "secret_1"}


@pytest.mark.parametrize("replaces", [True, False])
def test_an_agent_with_another_server_keeps_its_headers(
    api: ElevenLabs, connect: Connect, replaces: bool
) -> None:
    """Headers, limits and unknown fields stay as they were, however the platform merges a patch."""
    api.replaces = replaces
    api.agent["conversation_config"]["agent"]["prompt"] |= {
        "llm": "custom-llm",
        "max_tokens": 700,
        "custom_llm": {
            "url": "https://old.example/v1",
            "model_id": "their-model",
            "api_type": "responses",
            "api_version": "2024-10-21",
            "auth_connection": {"auth_connection_id": "auth_1"},
            "request_headers": {
                "x-shop": "Zürich",
                "x-caller": {"variable_name": "system__caller_id"},
                "X-Conversation-Id": "fixed",
            },
        },
    }
    done = connect(MODEL="")
    assert (done.returncode, done.stderr) == (0, "")
    assert api.prompt["max_tokens"] == 700
    custom = api.prompt["custom_llm"]
    assert custom["url"] == f"{SERVER}/v1"
    assert custom["model_id"] == "their-model"
    assert custom["api_type"] == "responses"
    assert custom["api_version"] == "2024-10-21"
    assert custom["auth_connection"] is None
    headers = custom["request_headers"]
    assert headers["x-shop"] == "Zürich"
    assert headers["x-caller"] == {"variable_name": "system__caller_id"}
    assert headers["X-Conversation-Id"] == {"variable_name": "system__conversation_id"}
    assert len(headers) == 3


@pytest.mark.parametrize("replaces", [True, False])
def test_headers_with_another_servers_key_are_removed(
    api: ElevenLabs, connect: Connect, replaces: bool
) -> None:
    """A header with another server's key is removed, or named if it stays, and never printed."""
    api.replaces = replaces
    api.agent["conversation_config"]["agent"]["prompt"]["custom_llm"] = {
        "url": "https://old.example/v1",
        "request_headers": {"Authorization": "Bearer sk-old", "x-api-key": {"secret_id": "s"}},
    }
    done = connect()
    assert done.returncode == (0 if replaces else 1)
    assert "sk-old" not in done.stdout + done.stderr
    headers = api.prompt["custom_llm"]["request_headers"]
    assert (set(headers) == {"x-conversation-id"}) is replaces
    if not replaces:
        still = done.stdout.partition("Still:")[2]
        assert "Header Authorization" in still
        assert "Header x-api-key" in still


def test_options_win_over_what_the_agent_has(api: ElevenLabs, connect: Connect) -> None:
    """API type, token limit and patience follow the options, and a later run may change them."""
    connect(API_TYPE="responses", MAX_TOKENS="300", CASCADE_TIMEOUT_S="9")
    assert api.prompt["custom_llm"]["api_type"] == "responses"
    assert (api.prompt["max_tokens"], api.prompt["cascade_timeout_seconds"]) == (300, 9.0)
    done = connect(MAX_TOKENS="-1")
    assert api.prompt["max_tokens"] == -1
    assert api.prompt["custom_llm"]["api_type"] == "responses"
    assert "Token limit" in done.stdout
    assert "API type" not in done.stdout


def test_a_dry_run_writes_nothing(api: ElevenLabs, connect: Connect) -> None:
    """DRY_RUN shows the change and neither asks nor writes."""
    done = connect(YES="", DRY_RUN="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Server URL" in done.stdout
    assert "new workspace secret" in done.stdout
    assert api.written == []


def test_without_a_terminal_nothing_is_done(api: ElevenLabs, connect: Connect) -> None:
    """Without a terminal to answer the question, the platform is not called."""
    done = connect(YES="")
    assert done.returncode == 2
    assert "YES=1" in done.stderr
    assert api.seen == []


@pytest.mark.parametrize(("typed", "status"), [("\n", 1), ("n\n", 1), ("\x04", 1), ("y\n", 0)])
def test_only_a_yes_makes_the_change(api: ElevenLabs, typed: str, status: int) -> None:
    """The question follows the list of changes, and any answer but yes changes nothing."""
    ended, shown = at_terminal(api, typed)
    assert ended == status, shown
    assert shown.index("Server URL") < shown.index("[y/N]")
    assert bool(api.written) is (status == 0)
    assert ("Nothing was changed" in shown) is (status == 1)


def test_keys_are_asked_for_without_echo(api: ElevenLabs) -> None:
    """Both keys can be typed at a terminal, and neither is shown."""
    typed = (f"{API_KEY}\n", f"{KEY}\n", "y\n")
    status, shown = at_terminal(api, *typed, ELEVENLABS_API_KEY="", CALLER_KEY="")
    assert status == 0, shown
    assert api.secrets[0]["value"] == KEY
    assert API_KEY not in shown
    assert KEY not in shown


def test_control_characters_in_a_name_are_escaped(api: ElevenLabs, connect: Connect) -> None:
    """Control characters in the platform's answers are printed escaped."""
    api.agent["name"] = "a\x1b[2Jb\nc"
    done = connect()
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert r"a\x1b[2Jb\x0ac" in done.stdout


def test_a_run_ends_with_a_real_turn(api: ElevenLabs, connect: Connect) -> None:
    """Each run but a dry one ends with a real turn and prints why it failed."""
    for _ in range(2):
        done = connect(URL="https://localhost:1/v1", REAL_TURN="")
        assert done.returncode == 0
        assert "Trying a turn ... it failed.\n  localhost:1: connection refused" in done.stdout
    assert "Trying a turn" not in connect(DRY_RUN="1", REAL_TURN="", MODEL="other").stdout


def test_a_stack_is_found_with_the_aws_cli(
    api: ElevenLabs, connect: Connect, tmp_path: Path
) -> None:
    """Without a URL the server, key, model and timeouts come from the deployed stack."""
    aws = tmp_path / "aws"
    aws.write_text(FAKE_AWS)
    aws.chmod(0o755)
    stack = {
        "Outputs": [
            {"OutputKey": "ServerUrl", "OutputValue": f"{SERVER}/v1"},
            {"OutputKey": "CallerKeySecretArn", "OutputValue": "arn:caller"},
        ],
        "Parameters": [
            {"ParameterKey": "UpstreamModel", "ParameterValue": "gpt-4.1"},
            {"ParameterKey": "BufferWordsAfterMs", "ParameterValue": "0"},
            {"ParameterKey": "TurnBudgetMs", "ParameterValue": "9000"},
        ],
    }
    (tmp_path / "stack.json").write_text(json.dumps({"Stacks": [stack]}))
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "AWS_LOG": str(tmp_path / "log"),
        "STACK_FILE": str(tmp_path / "stack.json"),
        "CALLER": "the-deployed-key",
        "STACK": "my-stack",
        "REGION": "eu-central-1",
    }
    done = connect(URL="", CALLER_KEY="", MODEL="", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert api.secrets[0]["value"] == "the-deployed-key"
    custom = api.prompt["custom_llm"]
    assert (custom["url"], custom["model_id"]) == (f"{SERVER}/v1", "gpt-4.1")
    assert api.prompt["cascade_timeout_seconds"] == 13.0
    log = (tmp_path / "log").read_text()
    assert "--stack-name my-stack" in log
    assert log.count("--region eu-central-1") == 2
    assert "--secret-id arn:caller" in log
