"""Who is called and how: an agent's settings, as its owner makes them on the platform.

Knows names and defaults; `history` makes requests of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ops.pasted_url import Address

ApiType = Literal["chat_completions", "responses"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the platform waits (docs and reports, 2026-11); users set the first on the agent."""

    cascade_timeout_s: float = 4.0
    """Until words or a call come; after it the same request is posted again."""
    posts: int = 3
    """Posts of one turn after which the call is dropped."""
    turn_s: float = 17.0
    """For the whole turn, with all its posts."""


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent's settings."""

    prompt: str = "You answer a phone. Be brief."
    first_message: str = ""
    """Spoken by the platform before the caller has said a word."""
    language: str = "en"
    tools: tuple[Tool, ...] = ()
    api_type: ApiType = "chat_completions"
    model: str = "gpt-4.1-mini"
    temperature: float | None = None
    max_tokens: int | None = None
    extra_body: Mapping[str, Any] | None = None
    """Sent as `elevenlabs_extra_body`."""
    user_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further request headers."""
    voicemail_message: str = ""
    """Left when a machine answers."""
    patience: Patience = Patience()


@dataclass(frozen=True, slots=True)
class AgentServer:
    """Where the agent's answers come from: any server's address, and the key for it."""

    address: Address
    key: str = field(repr=False)
