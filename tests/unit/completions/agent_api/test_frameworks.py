"""What frameworks take in place of a client and messages; `tests/frameworks` has whole turns."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from completions.agent_api.frameworks import items, langchain_options, llama_index_options
from completions.dialects.call_pairs import INTERRUPTED


def called(call_id: str = "c1", content: Any = None) -> dict[str, Any]:
    """Return a message that calls a tool."""
    function = {"name": "stock", "arguments": '{"product": "bell"}'}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": content, "tool_calls": calls}


CALL = {
    "type": "function_call",
    "call_id": "c1",
    "name": "stock",
    "arguments": '{"product": "bell"}',
}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Bells?"}],
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Bells?"}],
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "Bells?"}]}],
            [{"role": "user", "content": "Bells?"}],
        ),
        (
            [called(), {"role": "tool", "tool_call_id": "c1", "content": "Two."}],
            [CALL, {"type": "function_call_output", "call_id": "c1", "output": "Two."}],
        ),
        (
            [called(content="Let me look."), {"role": "tool", "tool_call_id": "c1", "content": ""}],
            [
                {"role": "assistant", "content": "Let me look."},
                CALL,
                {"type": "function_call_output", "call_id": "c1", "output": ""},
            ],
        ),
        (
            [called(), {"role": "user", "content": "Stop."}],
            [
                CALL,
                {"type": "function_call_output", "call_id": "c1", "output": INTERRUPTED},
                {"role": "user", "content": "Stop."},
            ],
        ),
        ([], []),
    ],
    ids=["texts", "parts", "a call", "words and a call", "a call without its result", "nothing"],
)
def test_messages_become_input_items(
    messages: list[dict[str, Any]], told: list[dict[str, Any]]
) -> None:
    """The whole conversation is kept, each call with its result."""
    before = [dict(message) for message in messages]
    assert items(messages) == told
    assert messages == before


def test_langchain_gets_every_client_that_it_would_make() -> None:
    """A client of its own would ask another host."""
    options = langchain_options()
    assert isinstance(options["root_async_client"], openai.AsyncOpenAI)
    assert isinstance(options["root_client"], openai.OpenAI)
    assert str(options["root_client"].base_url) == str(options["root_async_client"].base_url)
    assert set(options) == {"root_async_client", "async_client", "root_client", "client"}


def test_llama_index_gets_the_turns_transport() -> None:
    """It makes the SDK's clients itself, around the given HTTP clients."""
    options = llama_index_options()
    client = openai.AsyncOpenAI(
        base_url=options["api_base"],
        api_key=options["api_key"],
        http_client=options["async_http_client"],
    )
    assert client._client is options["async_http_client"]
    assert ".invalid" in options["api_base"]
