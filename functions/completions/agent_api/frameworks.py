"""What agent frameworks want instead of a client and a list of messages.

A framework is imported only when its function is called. Histories have the shape that every server
takes: each call with its result, texts only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from completions.agent_api.client import client, sync_client
from completions.dialects.call_pairs import content_lines
from completions.dialects.chat.clean_messages import clean_messages
from completions.dialects.request import SILENCE

if TYPE_CHECKING:
    from completions.agent_api.conversation import Conversation

WHOLE_HISTORY_TOKENS = 10_000_000
"""What LlamaIndex is told of the model's context: it would cut a longer call down to 3,000 tokens,
the system prompt first. The platform says what a turn is about, and the model what is too much."""


def items(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as the input items of the Responses API, which openai-agents takes."""
    found: list[dict[str, Any]] = []
    for message in clean_messages(map(dict, messages), str):
        text = content_lines(message.get("content"))
        if message["role"] == "tool":
            call_id = message["tool_call_id"]
            found.append({"type": "function_call_output", "call_id": call_id, "output": text})
            continue
        if text:
            found.append({"role": message["role"], "content": text})
        for call in message.get("tool_calls") or ():
            function = call["function"]
            found.append({"type": "function_call", "call_id": call["id"], **function})
    return found


def pydantic_ai_history(conversation: Conversation) -> list[Any]:
    """Return the conversation as pydantic-ai's `message_history`.

    If the assistant spoke last, a silent user message is appended: otherwise pydantic-ai would take
    the assistant's words for its answer.
    """
    from pydantic_ai import messages as ai

    found: list[Any] = []
    names: dict[str, str] = {}

    def add(kind: type[Any], *parts: Any) -> None:
        if not found or not isinstance(found[-1], kind):
            found.append(kind(parts=[]))
        found[-1].parts = [*found[-1].parts, *parts]

    for message in clean_messages(map(dict, conversation.messages), str):
        text = content_lines(message.get("content"))
        match message["role"]:
            case "system" | "developer":
                add(ai.ModelRequest, ai.SystemPromptPart(text))
            case "assistant":
                calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
                names |= {call_id: function["name"] for call_id, function in calls}
                add(
                    ai.ModelResponse,
                    *[ai.TextPart(text)][: bool(text)],
                    *[ai.ToolCallPart(one["name"], one["arguments"], name) for name, one in calls],
                )
            case "tool":
                call_id = message["tool_call_id"]
                add(ai.ModelRequest, ai.ToolReturnPart(names[call_id], text, call_id))
            case _:
                add(ai.ModelRequest, ai.UserPromptPart(text))
    if not found or isinstance(found[-1], ai.ModelResponse):
        add(ai.ModelRequest, ai.UserPromptPart(SILENCE))
    return found


def langchain_options() -> dict[str, Any]:
    """Return the options that connect a `ChatOpenAI` to the turn; all four are needed."""
    ours, blocking = client(), sync_client()
    return {
        "root_async_client": ours,
        "async_client": ours.chat.completions,
        "root_client": blocking,
        "client": blocking.chat.completions,
    }


def llama_index_options() -> dict[str, Any]:
    """Return the options that connect LlamaIndex's `OpenAILike` to the turn."""
    ours, blocking = client(), sync_client()
    return {
        "api_base": str(ours.base_url),
        "api_key": ours.api_key,
        "max_retries": 0,
        "context_window": WHOLE_HISTORY_TOKENS,
        "is_chat_model": True,
        "is_function_calling_model": True,
        "async_http_client": ours._client,  # noqa: SLF001 - the SDK tells it to nobody
        "http_client": blocking._client,  # noqa: SLF001
    }
