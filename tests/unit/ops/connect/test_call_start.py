"""The webhook before a call: whose it is, and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from ops.connect import call_start

SERVER = "https://a.example/v1"


def _agent(webhook: Any = None, *, on: bool = False, variables: Any = None) -> dict[str, Any]:
    overrides = None if webhook is None else {call_start.WEBHOOK: webhook, "webhooks": {"x": 1}}
    return {
        "platform_settings": {
            "overrides": {call_start.SWITCH: on},
            "workspace_overrides": overrides,
        },
        "conversation_config": {
            "agent": {"dynamic_variables": {"dynamic_variable_placeholders": variables}}
        },
    }


@pytest.mark.parametrize(
    "agent",
    [
        {},
        _agent(),
        _agent({"url": f"{SERVER}/warm"}, on=True),
        _agent({"url": f"{SERVER}/warm?environments=3"}, on=True, variables={"a": 1}),
    ],
)
def test_our_webhook_may_be_set(agent: dict[str, Any]) -> None:
    """An agent without a webhook, or with ours, may get ours."""
    assert call_start.obstacle(agent, SERVER) is None


@pytest.mark.parametrize(
    "agent",
    [
        _agent({"url": "https://b.example/v1/warm"}),
        _agent({"url": f"{SERVER}/warmer"}, on=True),
        _agent(on=True),
        _agent(variables={"shop": "x"}),
    ],
)
def test_a_webhook_of_others_stays(agent: dict[str, Any]) -> None:
    """Another server's webhook, the workspace's, and an agent with variables are left alone."""
    assert call_start.obstacle(agent, SERVER)


def test_other_overrides_and_headers_are_sent_back() -> None:
    """Other overrides of the agent, and other headers of our webhook, are in the patch."""
    had = {"url": f"{SERVER}/warm", "request_headers": {"x-shop": "n"}}
    made = call_start.settings(_agent(had, on=True), SERVER, 2, "secret_1")
    workspace = made["workspace_overrides"]
    assert workspace["webhooks"] == {"x": 1}
    assert workspace[call_start.WEBHOOK] == {
        "url": f"{SERVER}/warm?environments=2",
        "request_headers": {"x-shop": "n", "x-api-key": {"secret_id": "secret_1"}},
    }


def test_our_webhook_is_set_only_if_switched_on() -> None:
    """Our webhook counts as set only if the agent has it switched on."""
    ours = {"url": f"{SERVER}/warm"}
    assert call_start.is_set(_agent(ours, on=True), SERVER)
    assert not call_start.is_set(_agent(ours), SERVER)
    assert not call_start.is_set(_agent(on=True), SERVER)
