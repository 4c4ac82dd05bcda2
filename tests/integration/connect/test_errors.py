"""Wrong options for `make connect`, and errors of the platform's API."""

import socket
from typing import Any

import pytest

from tests.support.connect import KEY, Connect
from tests.support.elevenlabs_api import ElevenLabs, error


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
def test_a_wrong_option_names_the_right_one(
    api: ElevenLabs, connect: Connect, variables: dict[str, str], message: str
) -> None:
    """A missing or impossible option ends with status 2 before anything is written."""
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
    """A refusal by the platform is printed with its reason and a remedy, without a traceback."""
    api.fail(request_, *answer)
    done = connect()
    assert done.returncode == 1
    assert message in done.stderr


def test_a_busy_platform_is_asked_again(api: ElevenLabs, connect: Connect) -> None:
    """A single 429 is retried after a wait."""
    api.fail("PATCH agents", *error(429, "rate_limited", "Too many"), times=1)
    assert connect().returncode == 0
    assert api.prompt["llm"] == "custom-llm"


def test_a_secret_is_never_made_twice(api: ElevenLabs, connect: Connect) -> None:
    """A failed creation is not retried, since the secret may exist all the same."""
    api.fail("POST secrets", 500, "")
    assert connect().returncode == 1
    assert api.written == ["POST /v1/convai/secrets"]


def test_the_next_run_resumes_after_a_failure(api: ElevenLabs, connect: Connect) -> None:
    """After a failure between the two writes, the next run uses the existing secret."""
    api.fail("PATCH agents", *error(422, "bad", "No"), times=1)
    assert connect().returncode == 1
    assert connect().returncode == 0
    assert len(api.secrets) == 1


def test_an_unreachable_platform_says_so(connect: Connect) -> None:
    """The message names the host that cannot be reached."""
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{nobody_listens.getsockname()[1]}"
        done = connect(ELEVENLABS_BASE_URL=f"http://{place}")
    assert done.returncode == 1
    assert f"{place} cannot be reached" in done.stderr


def test_an_unknown_agent_is_named(api: ElevenLabs, connect: Connect) -> None:
    """The message repeats the mistyped agent id, and nothing is written."""
    done = connect(AGENT="agent_frnt")
    assert done.returncode == 1
    assert "agent_frnt" in done.stderr
    assert api.written == []


def test_a_change_that_was_not_applied_is_an_error(api: ElevenLabs, connect: Connect) -> None:
    """A run fails if the platform's answer still shows the old settings."""
    api.forgets = True
    done = connect()
    assert done.returncode == 1
    assert "not as sent" in done.stderr
    assert "Server URL" in done.stdout
