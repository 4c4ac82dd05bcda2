"""The webhook by which the platform announces a call: whether it may be ours, and how to set it.

The platform waits for its answer, and starts no call without it, so another server's webhook is
never replaced. Fields as in elevenlabs 2.78.0 (`AgentWorkspaceOverridesInput`).
"""

from __future__ import annotations

from typing import Any

from ops.connect.nested_json import at

WORKSPACE = ("platform_settings", "workspace_overrides")
OVERRIDES = ("platform_settings", "overrides")
VARIABLES = ("conversation_config", "agent", "dynamic_variables", "dynamic_variable_placeholders")
WEBHOOK = "conversation_initiation_client_data_webhook"
SWITCH = "enable_conversation_initiation_client_data_from_webhook"
KEY_HEADER = "x-api-key"
MOST_ENVIRONMENTS = 5


def webhook_url(server_url: str, environments: int) -> str:
    """Return the URL that prepares this many environments."""
    return f"{server_url}/warm" + (f"?environments={environments}" if environments > 1 else "")


def obstacle(agent: dict[str, Any], server_url: str) -> str | None:
    """Return why the agent's webhook must stay unchanged, or None if it may be ours."""
    url = at(agent, (*WORKSPACE, WEBHOOK)).get("url")
    if url:
        if _is_ours(url, server_url):
            return None
        return f"it has one of its own, {url}"
    if at(agent, OVERRIDES).get(SWITCH):
        return "it uses the workspace's"
    if names := at(agent, VARIABLES):
        listed = ", ".join(sorted(names)[:5])
        return f"its answer would have to contain the agent's dynamic variables ({listed})"
    return None


def is_set(agent: dict[str, Any], server_url: str) -> bool:
    """Return whether the agent announces its calls to this server."""
    url = at(agent, (*WORKSPACE, WEBHOOK)).get("url")
    return bool(url and _is_ours(url, server_url) and at(agent, OVERRIDES).get(SWITCH))


def settings(
    agent: dict[str, Any], server_url: str, environments: int, secret_id: str | None
) -> dict[str, dict[str, Any]]:
    """Return the parts of `platform_settings` to send, with their other fields."""
    had = at(agent, (*WORKSPACE, WEBHOOK))
    headers = at(had, ("request_headers",)) | {KEY_HEADER: {"secret_id": secret_id}}
    webhook = had | {"url": webhook_url(server_url, environments), "request_headers": headers}
    return {
        "workspace_overrides": at(agent, WORKSPACE) | {WEBHOOK: webhook},
        "overrides": {SWITCH: True},
    }


def _is_ours(url: str, server_url: str) -> bool:
    return url.partition("?")[0] == webhook_url(server_url, 1)
