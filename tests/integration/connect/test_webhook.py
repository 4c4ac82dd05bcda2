"""The agent's webhook for the start of a call, as `make connect` sets it."""

from typing import Any

import pytest

from completions.web.call_starts import CALL_STARTS
from tests.support.connect import SERVER, Connect, at_terminal
from tests.support.elevenlabs_api import ElevenLabs, Sdk


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
