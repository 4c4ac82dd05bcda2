"""The only way to the platform: agents and secrets of a workspace, through its official SDK.

Speaks JSON to the rest of the package: the SDK's own models read and write it, and keep fields that
they do not know. Every failure leaves here as a Problem that names no key.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ops.command_problem import Problem, usage

TIMEOUT_S = 30
PAGE_SIZE = 100  # the platform's maximum
Result = TypeVar("Result")

# What a status means here, and what to do. {agent} and {reason} are filled in.
REMEDIES = {
    400: "The platform refused the settings: {reason}",
    401: "The platform refuses the API key: {reason}\n"
    "ELEVENLABS_API_KEY must be a whole, unrevoked key of the workspace that owns the agent. A "
    "workspace with data residency also needs its own ELEVENLABS_BASE_URL.",
    403: "The API key may not do this: {reason}\n"
    "In the workspace's settings, let it read and write agents and secrets.",
    404: "The workspace of this API key has no agent {agent}, or a secret is gone: {reason}\n"
    "Set AGENT=... to the agent's id, agent_..., from its address in the dashboard.",
    409: "Somebody else is changing the same thing: {reason}\nRun it again.",
    422: "The platform refused the settings: {reason}",
    429: "The platform accepts no more requests for now: {reason}\nWait a minute and run it again.",
}
MISSING_RIGHT = (
    "The API key lacks a permission: {reason}\n"
    "In the workspace's settings, let it read and write agents and secrets."
)


def guarded(call: Callable[..., Result]) -> Callable[..., Result]:
    """Return the method, with every failure of the SDK as a Problem."""

    @functools.wraps(call)
    def checked(self: Workspace, *arguments: Any) -> Result:
        import httpx
        from elevenlabs.core.api_error import ApiError

        try:
            return call(self, *arguments)
        except ApiError as error:
            raise self.problem(error) from None  # a trace would show bodies, and so a key
        except httpx.HTTPError as error:
            raise Problem(
                f"{self.host} cannot be reached ({type(error).__name__}: {error}). Check the "
                "network, the proxy (HTTPS_PROXY) and ELEVENLABS_BASE_URL. "
                "Run it again: finished steps are not repeated."
            ) from None
        except (TypeError, ValueError, AttributeError) as error:
            # The SDK does not check answers: a misfit fails where it is first used.
            raise Problem(
                f"The SDK does not understand {self.host}'s answer ({type(error).__name__}). Is "
                "ELEVENLABS_BASE_URL the platform's? Is there a newer elevenlabs for `make lock`?"
            ) from None

    return checked


class Workspace:
    """A workspace of the platform, as the holder of an API key may see and change it."""

    def __init__(self, api_key: str, base_url: str, *, agent_id: str, caller_key: str) -> None:
        """Prepare to talk to `base_url`, or to the platform's usual one. Raises Problem."""
        from elevenlabs.client import ElevenLabs

        split = urlsplit(base_url or "https://api.elevenlabs.io")
        if split.scheme != "https" and split.hostname not in {"127.0.0.1", "localhost"}:
            raise usage(f"ELEVENLABS_BASE_URL={base_url} is not https: it would show your keys.")
        self.host = split.netloc
        self._agent_id = agent_id
        self._keys = (api_key, caller_key)
        client = ElevenLabs(
            api_key=api_key,
            base_url=base_url or None,
            timeout=TIMEOUT_S,
            # NOTE: httpx sends `xi-api-key` along with every redirect.
            follow_redirects=False,
        )
        self._agents = client.conversational_ai.agents
        self._secrets = client.conversational_ai.secrets

    @guarded
    def agent(self) -> dict[str, Any]:
        """Return the agent with all its settings. Raises Problem."""
        return dict(_decoded(self._agents.get(self._agent_id, request_options=_retried(1))))

    @guarded
    def secrets(self) -> list[dict[str, Any]]:
        """Return all secrets of the workspace, without their values. Raises Problem."""
        found: list[dict[str, Any]] = []
        seen: set[str | None] = set()
        cursor = None
        while cursor not in seen:  # a repeated cursor would never end
            seen.add(cursor)
            page = self._secrets.list(
                page_size=PAGE_SIZE, cursor=cursor, request_options=_retried(1)
            )
            found += _decoded(page)["secrets"]
            cursor = page.next_cursor or None
        return found

    @guarded
    def create_secret(self, name: str) -> str:
        """Return the id of a new secret with the caller key. Raises Problem."""
        # Never retried: the platform might have created one without our hearing of it.
        made = self._secrets.create(name=name, value=self._keys[1], request_options=_retried(0))
        return str(made.secret_id)

    @guarded
    def update_secret(self, secret_id: str, name: str) -> None:
        """Put the caller key, and its new name, into an existing secret. Raises Problem."""
        self._secrets.update(secret_id, name=name, value=self._keys[1], request_options=_retried(1))

    @guarded
    def update_agent(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the patched agent; the SDK's types have checked the patch. Raises Problem."""
        from elevenlabs.types import AgentPlatformSettingsRequestModel, ConversationalConfig

        settings = AgentPlatformSettingsRequestModel.model_validate(body["platform_settings"])
        after = self._agents.update(
            self._agent_id,
            conversation_config=ConversationalConfig.model_validate(body["conversation_config"]),
            platform_settings=settings,
            request_options=_retried(1),
        )
        return dict(_decoded(after))

    def problem(self, error: Any) -> Problem:
        """Return what an ApiError means to the operator, with any quoted key removed."""
        status, reason = error.status_code or 0, _reason(error.body)
        if "missing_permissions" in json.dumps(error.body, default=str):
            text = MISSING_RIGHT
        elif status in REMEDIES:
            text = REMEDIES[status]
        elif status >= 500:
            text = "The platform failed ({status}): {reason}\nRun it again later."
        else:
            text = (
                "{host} did not answer like the platform ({status}). Is ELEVENLABS_BASE_URL right, "
                "or does a proxy answer instead?"
            )
        text = text.format(agent=self._agent_id, reason=reason, status=status, host=self.host)
        for key in self._keys:
            text = text.replace(key, "***") if key else text
        return Problem(text)


def _reason(body: Any) -> str:
    """Return the platform's words in an error's body, without the input that FastAPI repeats."""
    detail = body.get("detail", body) if isinstance(body, dict) else body
    if isinstance(detail, list):
        lines = [
            f"{'.'.join(str(part) for part in one.get('loc', ()))}: {one.get('msg', '?')}"
            for one in detail
            if isinstance(one, dict)
        ]
        return "; ".join(lines) or "without a reason"
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("status")
    text = str(detail or "without a reason").strip()
    return text if len(text) <= 500 else text[:500] + "..."


def _decoded(answer: Any) -> Any:
    """Return a model of the SDK as the JSON that it was made of."""
    from elevenlabs.core.jsonable_encoder import jsonable_encoder

    return jsonable_encoder(answer)


def _retried(times: int) -> Any:
    """Return the SDK's options: a time-out, and how often to retry a 408, 409, 429 or 5xx."""
    return {"max_retries": times, "timeout_in_seconds": TIMEOUT_S}
