"""The agent's webhook for the start of a call, as `make connect` sets it."""

from typing import Any

import pytest

from completions.web.call_starts import CALL_STARTS
from tests.support.connect import SERVER, Connect, at_terminal
from tests.support.elevenlabs_api import ElevenLabs, Sdk


def webhook_of(api: ElevenLabs) -> Any:
    """Return the agent's webhook for the start of a call, and whether it is switched on."""
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
def test_warm_sets_the_webhook(plain: ElevenLabs, connect: Connect, number: str) -> None:
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


def test_a_dry_run_shows_the_webhook(plain: ElevenLabs, connect: Connect) -> None:
    """DRY_RUN shows what WARM would set, and mentions WARM if it is not given."""
    assert "/v1/warm" in connect(YES="", DRY_RUN="1", WARM="1").stdout
    assert "WARM=1" in connect(YES="", DRY_RUN="1", WARM="").stdout
    assert plain.written == []


def test_the_webhook_is_offered_at_a_terminal(plain: ElevenLabs) -> None:
    """The command asks at a terminal whether to set the webhook."""
    status, shown = at_terminal(plain, "y\n", "y\n", WARM="")
    assert status == 0, shown
    assert "announce" in shown
    webhook, asked = webhook_of(plain)
    assert webhook["url"] == f"{SERVER}/v1/warm"
    assert asked


def test_no_webhook_is_set_without_a_question(plain: ElevenLabs, connect: Connect) -> None:
    """YES alone connects the agent and sets no webhook."""
    assert connect(WARM="").returncode == 0
    assert webhook_of(plain) == (None, False)


THEIRS = {"url": "https://crm.example/calls", "request_headers": {"authorization": "x"}}


def test_another_webhook_stays(plain: ElevenLabs, connect: Connect) -> None:
    """An agent with another webhook is connected, and the webhook stays as it was."""
    name = "conversation_initiation_client_data_webhook"
    plain.agent["platform_settings"]["workspace_overrides"] = {name: THEIRS}
    done = connect(WARM="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "stays as it is: it has one of its own, https://crm.example/calls" in done.stdout
    assert webhook_of(plain) == (THEIRS, False)
    assert plain.prompt["llm"] == "custom-llm"


def test_the_workspaces_webhook_stays(plain: ElevenLabs, connect: Connect) -> None:
    """An agent that uses the workspace's webhook keeps using it."""
    overrides = plain.agent["platform_settings"]["overrides"]
    overrides["enable_conversation_initiation_client_data_from_webhook"] = True
    done = connect(WARM="1")
    assert "stays as it is: it uses the workspace's" in done.stdout
    assert webhook_of(plain) == (None, True)


def test_an_agent_with_variables_gets_no_webhook(api: ElevenLabs, connect: Connect) -> None:
    """No webhook is set for an agent with dynamic variables, since our answer would lack them."""
    done = connect(WARM="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "dynamic variables (shop)" in done.stdout
    assert webhook_of(api) == (None, False)


@pytest.mark.parametrize("number", ["6", "-1", "yes"])
def test_an_impossible_number_of_environments_is_refused(connect: Connect, number: str) -> None:
    """WARM must be 0 to 5."""
    done = connect(WARM=number)
    assert done.returncode == 2
    assert "WARM" in done.stderr


def test_the_webhooks_answer_fits_the_sdks_model(sdks: tuple[Sdk, Sdk]) -> None:
    """The SDK's model knows every field of the webhook's answer but its type."""
    (start,) = CALL_STARTS
    answer = dict(start.answer)
    assert answer.pop("type") == "conversation_initiation_client_data"
    model = "ConversationInitiationClientDataRequestInput"
    assert sdks[0].problems("answer", model, answer) == []
    assert sdks[0].problems("answer", model, {**answer, "other": 1})
