"""`make connect` as a user runs it, against the platform's API on loopback."""

import contextlib
import copy
import json
import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from completions.web.call_starts import CALL_STARTS
from tests.support.elevenlabs_api import API_KEY, PYTHON, ROOT, ElevenLabs, Sdk, error

KEY = "caller-key-of-48-letters"
SERVER = "https://abc.lambda-url.eu-central-1.on.aws"
NAME = "voice-completions-abc-lambda-url-eu-central-1-on-aws-"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Connect(Protocol):
    def __call__(self, **variables: str) -> Done: ...


FAKE_AWS = """#!/bin/sh
echo "$@" >> "$AWS_LOG"
case "$*" in
*"cloudformation describe-stacks"*) cat "$STACK_FILE" ;;
*"secretsmanager get-secret-value"*) echo '{"SecretString": "{\\"key\\": \\"'$CALLER'\\"}"}' ;;
*) exit 1 ;;
esac
"""


@pytest.fixture(scope="module")
def sdks() -> Iterator[tuple[Sdk, Sdk]]:
    """One that checks what the other sends."""
    both = Sdk(), Sdk()
    yield both
    for each in both:
        each.close()


@pytest.fixture
def api(sdks: tuple[Sdk, Sdk]) -> Iterator[ElevenLabs]:
    with ElevenLabs(sdks[0]) as served:
        yield served
    assert served.unknown == []


@pytest.fixture
def connect(api: ElevenLabs, sdks: tuple[Sdk, Sdk]) -> Connect:
    """One run without a terminal, whose output shows no key."""

    def run(**variables: str) -> Done:
        done = Done(*sdks[1].connect(environment(api, **variables)))
        for key in (API_KEY, variables.get("CALLER_KEY") or KEY, variables.get("CALLER") or KEY):
            assert key not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def environment(api: ElevenLabs, **variables: str) -> dict[str, str]:
    ours = (
        "AGENT",
        "URL",
        "CALLER_KEY",
        "STACK",
        "REGION",
        "MODEL",
        "API_TYPE",
        "YES",
        "WARM",
        "ELEVENLABS_",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given = {
        "ELEVENLABS_BASE_URL": api.url,
        "ELEVENLABS_API_KEY": API_KEY,
        "AGENT": "agent_front",
        "URL": SERVER,
        "CALLER_KEY": KEY,
        "MODEL": "gpt-4.1-mini",
        "YES": "1",
        "REAL_TURN": "0",
        "WARM": "0",
    }
    return kept | {name: value for name, value in (given | variables).items() if value}


def at_terminal(api: ElevenLabs, *answers: str, **variables: str) -> tuple[int, str]:
    """One run at a terminal where each prompt gets its answer: the status, and what was shown."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [PYTHON, "-u", "-m", "ops.connect"],
        cwd=ROOT,
        env=environment(api, YES="", **variables),
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    os.close(its)
    assert process.stdout
    shown, left = b"", list(answers)
    with process.stdout as output:
        while data := os.read(output.fileno(), 4096):
            shown += data
            # getpass drops what was typed ahead, so an answer waits for its prompt.
            if left and shown.endswith((b"): ", b"[y/N] ")):
                os.write(ours, left.pop(0).encode())
    status = process.wait()
    with contextlib.suppress(OSError):  # EIO: nothing was echoed
        shown += os.read(ours, 4096)
    os.close(ours)
    return status, shown.decode()


def test_a_first_connect_sets_what_is_ours_and_nothing_else(
    api: ElevenLabs, connect: Connect
) -> None:
    """An agent with a model of the platform's is pointed at the server, the rest as it was."""
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
    """A run that finds everything as wanted says so and writes nothing."""
    connect()
    wrote = api.written
    done = connect(MODEL="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to change" in done.stdout
    assert api.written == wrote


def test_a_rotated_key_is_put_into_the_same_secret(api: ElevenLabs, connect: Connect) -> None:
    """After a rotation the secret is changed where it is, so that every agent with it follows."""
    connect()
    before = copy.deepcopy(api.agent)
    done = connect(CALLER_KEY="another-key")
    assert (done.returncode, done.stderr) == (0, "")
    assert "replaced. Agents that use it: 1." in done.stdout
    assert [(one["id"], one["value"]) for one in api.secrets] == [("secret_0", "another-key")]
    assert api.agent == before
    assert "nothing to change" in connect(CALLER_KEY="another-key").stdout


def test_a_secret_on_a_later_page_is_found(api: ElevenLabs, connect: Connect) -> None:
    """However many secrets a workspace has, the one for this server is not made twice."""
    connect()
    others = [{"id": f"other_{n}", "name": f"OTHER_{n}", "value": "x"} for n in range(5)]
    api.secrets[:0] = others
    api.page_size = 2
    assert "nothing to change" in connect().stdout
    assert sum(one.path.endswith("/secrets") and one.method == "GET" for one in api.seen) == 4


def test_two_servers_have_two_secrets(api: ElevenLabs, connect: Connect) -> None:
    """Connecting to another server leaves the first one's secret as it is."""
    connect()
    done = connect(URL="https://other.example/v1", CALLER_KEY="other-key")
    assert done.returncode == 0, done.stderr
    assert [one["value"] for one in api.secrets] == [KEY, "other-key"]
    assert api.prompt["custom_llm"]["api_key"] == {"secret_id": "secret_1"}


@pytest.mark.parametrize("replaces", [True, False])
def test_an_agent_with_a_server_of_its_own_keeps_its_headers(
    api: ElevenLabs, connect: Connect, replaces: bool
) -> None:
    """Headers, limits and what we do not know stay as they were, however patches are merged."""
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
def test_no_other_key_is_sent_beside_ours(
    api: ElevenLabs, connect: Connect, replaces: bool
) -> None:
    """A header with another server's key is taken away unshown, or named if it cannot be."""
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
    """API type, token limit and patience are as told, and may be changed by a later run."""
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


def test_without_a_terminal_nothing_is_asked_or_done(api: ElevenLabs, connect: Connect) -> None:
    """Where nobody can answer the question, the platform is not even called."""
    done = connect(YES="")
    assert done.returncode == 2
    assert "YES=1" in done.stderr
    assert api.seen == []


@pytest.mark.parametrize(("typed", "status"), [("\n", 1), ("n\n", 1), ("\x04", 1), ("y\n", 0)])
def test_only_a_yes_makes_the_change(api: ElevenLabs, typed: str, status: int) -> None:
    """The question comes after the change was shown, and anything but yes leaves all as it was."""
    ended, shown = at_terminal(api, typed)
    assert ended == status, shown
    assert shown.index("Server URL") < shown.index("[y/N]")
    assert bool(api.written) is (status == 0)
    assert ("Nothing was changed" in shown) is (status == 1)


def test_keys_are_asked_for_without_echo(api: ElevenLabs) -> None:
    """At a terminal both keys can be typed, and neither is shown."""
    typed = (f"{API_KEY}\n", f"{KEY}\n", "y\n")
    status, shown = at_terminal(api, *typed, ELEVENLABS_API_KEY="", CALLER_KEY="")
    assert status == 0, shown
    assert api.secrets[0]["value"] == KEY
    assert API_KEY not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AGENT": ""}, "AGENT="),
        ({"ELEVENLABS_API_KEY": ""}, "ELEVENLABS_API_KEY is not set"),
        ({"CALLER_KEY": ""}, "KEY is not set"),
        ({"CALLER_KEY": "two words"}, "Paste only the key"),
        ({"URL": "http://127.0.0.1:8080/v1"}, "tunnel"),
        ({"MODEL": ""}, "MODEL="),
        ({"API_TYPE": "websocket"}, "API_TYPE"),
        ({"MAX_TOKENS": "0"}, "MAX_TOKENS"),
        ({"CASCADE_TIMEOUT_S": "1"}, "between 2 and 15"),
        ({"ELEVENLABS_BASE_URL": "http://elevenlabs.example"}, "not https"),
    ],
)
def test_what_is_called_wrongly_says_how_to_call_it(
    api: ElevenLabs, connect: Connect, variables: dict[str, str], message: str
) -> None:
    """A missing or impossible option ends with status 2, and before anything was written."""
    done = connect(**variables)
    assert done.returncode == 2
    assert message in done.stderr
    assert api.written == []


@pytest.mark.parametrize(
    ("request_", "answer", "message"),
    [
        ("GET agents", error(401, "invalid_api_key", "Invalid API key"), "unrevoked"),
        (
            "PATCH agents",
            error(401, "missing_permissions", "missing the permission convai_write"),
            "lacks a permission: missing the permission convai_write",
        ),
        ("GET secrets", error(403, "forbidden", "Not for you"), "may not do this: Not for you"),
        ("GET agents", error(404, "document_not_found", "No such"), "no agent agent_front"),
        (
            "POST secrets",
            (422, {"detail": [{"loc": ["body", "value"], "msg": "Too short", "input": KEY}]}),
            "body.value: Too short",
        ),
        ("POST secrets", error(400, "bad", f"{KEY} is no good value"), "*** is no good value"),
        ("PATCH agents", error(409, "conflict", "Being edited"), "Run it again"),
        ("PATCH agents", error(429, "rate_limited", "Too many"), "Wait a minute"),
        ("GET agents", (503, "<html>down</html>"), "failed (503)"),
        ("GET agents", (302, ""), "did not answer like the platform (302)"),
        ("GET agents", (200, "<html>log in</html>"), "did not answer like the platform (200)"),
        ("GET agents", (200, ["not", "an", "agent"]), "does not understand"),
    ],
)
def test_an_error_says_what_to_do(
    api: ElevenLabs, connect: Connect, request_: str, answer: tuple[int, Any], message: str
) -> None:
    """Whatever the platform refuses, the operator reads why and what to do, and no trace."""
    api.fail(request_, *answer)
    done = connect()
    assert done.returncode == 1
    assert message in done.stderr


def test_a_busy_platform_is_asked_again(api: ElevenLabs, connect: Connect) -> None:
    """One 429 is waited out."""
    api.fail("PATCH agents", *error(429, "rate_limited", "Too many"), times=1)
    assert connect().returncode == 0
    assert api.prompt["llm"] == "custom-llm"


def test_a_secret_is_never_made_twice(api: ElevenLabs, connect: Connect) -> None:
    """A failed creation is not repeated unasked, since it may have come to pass all the same."""
    api.fail("POST secrets", 500, "")
    assert connect().returncode == 1
    assert api.written == ["POST /v1/convai/secrets"]


def test_what_was_half_done_is_taken_up(api: ElevenLabs, connect: Connect) -> None:
    """After a failure between the two writes, the next run uses the secret that is there."""
    api.fail("PATCH agents", *error(422, "bad", "No"), times=1)
    assert connect().returncode == 1
    assert connect().returncode == 0
    assert len(api.secrets) == 1


def test_an_unreachable_platform_says_so(connect: Connect) -> None:
    """Without a network the operator reads where it was looked for."""
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{nobody_listens.getsockname()[1]}"
        done = connect(ELEVENLABS_BASE_URL=f"http://{place}")
    assert done.returncode == 1
    assert f"{place} cannot be reached" in done.stderr


def test_an_unknown_agent_is_named(api: ElevenLabs, connect: Connect) -> None:
    """A mistyped agent id comes back in the message, and nothing was written for it."""
    done = connect(AGENT="agent_frnt")
    assert done.returncode == 1
    assert "agent_frnt" in done.stderr
    assert api.written == []


def test_a_change_that_was_not_taken_is_an_error(api: ElevenLabs, connect: Connect) -> None:
    """An answer that still shows the old settings is not reported as success."""
    api.forgets = True
    done = connect()
    assert done.returncode == 1
    assert "not as sent" in done.stderr
    assert "Server URL" in done.stdout


def test_a_name_cannot_steer_the_terminal(api: ElevenLabs, connect: Connect) -> None:
    """Control characters in what the platform tells are shown, not obeyed."""
    api.agent["name"] = "a\x1b[2Jb\nc"
    done = connect()
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert r"a\x1b[2Jb\x0ac" in done.stdout


def test_a_real_turn_ends_it(api: ElevenLabs, connect: Connect) -> None:
    """Whether something was changed or not, it says what the server's callers would not hear."""
    for _ in range(2):
        done = connect(URL="https://localhost:1/v1", REAL_TURN="")
        assert done.returncode == 0
        assert "A turn is tried ... it failed.\n  localhost:1: connection refused" in done.stdout
    assert "A turn is tried" not in connect(DRY_RUN="1", REAL_TURN="", MODEL="other").stdout


def test_a_stack_is_found_with_the_aws_cli(
    api: ElevenLabs, connect: Connect, tmp_path: Path
) -> None:
    """Without URL the server, its key, model and clock come from the deployed stack."""
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


def webhook_of(api: ElevenLabs) -> Any:
    """The agent's webhook for the start of a call, and whether it is asked."""
    settings = api.agent["platform_settings"]
    overrides = settings.get("workspace_overrides") or {}
    return (
        overrides.get("conversation_initiation_client_data_webhook"),
        settings["overrides"]["enable_conversation_initiation_client_data_from_webhook"],
    )


@pytest.fixture
def plain(api: ElevenLabs) -> ElevenLabs:
    """An agent without dynamic variables."""
    api.agent["conversation_config"]["agent"]["dynamic_variables"] = {}
    return api


@pytest.mark.parametrize("number", ["1", "2"])
def test_calls_are_announced_if_wanted(plain: ElevenLabs, connect: Connect, number: str) -> None:
    """WARM sets the agent's webhook, with the key from the same secret; a second run finds it."""
    done = connect(WARM=number)
    assert (done.returncode, done.stderr) == (0, "")
    query = "" if number == "1" else "?environments=2"
    expected = {
        "url": f"{SERVER}/v1/warm{query}",
        "request_headers": {"x-api-key": {"secret_id": "secret_0"}},
    }
    assert webhook_of(plain) == (expected, True)
    assert f"Calls are announced to (none) -> {SERVER}/v1/warm{query}" in [
        " ".join(line.split()) for line in done.stdout.splitlines()
    ]
    assert "NOTE" not in done.stdout
    for again in (number, "", "0"):
        assert "nothing to change" in connect(WARM=again).stdout
    assert webhook_of(plain) == (expected, True)


def test_a_dry_run_shows_the_announcement(plain: ElevenLabs, connect: Connect) -> None:
    """DRY_RUN shows what WARM would set, and without it that there is such a thing."""
    assert "/v1/warm" in connect(YES="", DRY_RUN="1", WARM="1").stdout
    assert "WARM=1" in connect(YES="", DRY_RUN="1", WARM="").stdout
    assert plain.written == []


def test_an_announcement_is_asked_for(plain: ElevenLabs) -> None:
    """At a terminal the command asks; without one it leaves the webhook alone."""
    status, shown = at_terminal(plain, "y\n", "y\n", WARM="")
    assert status == 0, shown
    assert "announce" in shown
    webhook, asked = webhook_of(plain)
    assert webhook["url"] == f"{SERVER}/v1/warm"
    assert asked


def test_no_announcement_is_set_unasked(plain: ElevenLabs, connect: Connect) -> None:
    """YES alone connects the agent and sets no webhook."""
    assert connect(WARM="").returncode == 0
    assert webhook_of(plain) == (None, False)


THEIRS = {"url": "https://crm.example/calls", "request_headers": {"authorization": "x"}}


def test_a_webhook_of_somebody_elses_stays(plain: ElevenLabs, connect: Connect) -> None:
    """An agent whose calls are announced elsewhere is connected, and that stays as it was."""
    name = "conversation_initiation_client_data_webhook"
    plain.agent["platform_settings"]["workspace_overrides"] = {name: THEIRS}
    done = connect(WARM="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "left as it is: it has one of its own, https://crm.example/calls" in done.stdout
    assert webhook_of(plain) == (THEIRS, False)
    assert plain.prompt["llm"] == "custom-llm"


def test_the_workspaces_webhook_stays(plain: ElevenLabs, connect: Connect) -> None:
    """An agent that asks the workspace's webhook goes on asking that one."""
    overrides = plain.agent["platform_settings"]["overrides"]
    overrides["enable_conversation_initiation_client_data_from_webhook"] = True
    done = connect(WARM="1")
    assert "left as it is: it uses the workspace's" in done.stdout
    assert webhook_of(plain) == (None, True)


def test_an_agent_with_variables_is_not_announced(api: ElevenLabs, connect: Connect) -> None:
    """An agent with dynamic variables would start no call with an answer that lacks them."""
    done = connect(WARM="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "dynamic variables (shop)" in done.stdout
    assert webhook_of(api) == (None, False)


@pytest.mark.parametrize("number", ["6", "-1", "yes"])
def test_a_number_of_environments_that_cannot_be_is_refused(connect: Connect, number: str) -> None:
    """WARM is 0 to 5."""
    done = connect(WARM=number)
    assert done.returncode == 2
    assert "WARM" in done.stderr


def test_what_is_answered_before_a_call_is_of_the_sdks_shape(sdks: tuple[Sdk, Sdk]) -> None:
    """The answer to the webhook has no field but its type that the SDK's model does not know."""
    (start,) = CALL_STARTS
    answer = dict(start.answer)
    assert answer.pop("type") == "conversation_initiation_client_data"
    model = "ConversationInitiationClientDataRequestInput"
    assert sdks[0].problems("answer", model, answer) == []
    assert sdks[0].problems("answer", model, {**answer, "other": 1})
