"""Bring your own agent: an async generator that answers instead of the model.

`COMPLETIONS_RESPONDER=package.module:function` names it. It is called with a `Conversation` and
yields `Say`, `Think` and `Call`; the turn around it keeps all its promises (buffer words, never
empty, checked tool calls, honest ends). `client` and `Conversation.client` are OpenAI clients whose
requests are races of the turn; `Conversation.ask` asks without the SDK.
"""

from __future__ import annotations

from completions.agent_api.client import client, sync_client
from completions.agent_api.conversation import Conversation
from completions.agent_api.events import Call, Event, Say, Think
from completions.agent_api.frameworks import (
    langchain_options,
    llama_index_options,
    pydantic_ai_history,
)
from completions.agent_api.loading import Responder, ResponderError, load
from completions.dialects.chat import message_text as text_of

__all__ = [
    "Call",
    "Conversation",
    "Event",
    "Responder",
    "ResponderError",
    "Say",
    "Think",
    "client",
    "langchain_options",
    "llama_index_options",
    "load",
    "pydantic_ai_history",
    "sync_client",
    "text_of",
]
