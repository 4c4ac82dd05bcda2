"""The history that the platform keeps, and the requests made from it."""

from __future__ import annotations

from ops.call.agent import Agent
from ops.call.history import History, request
from ops.call.system_tools import offered
from ops.doctor.strict_reader import Call


def _played() -> History:
    history = History("Hello, the bicycle shop.")
    history.caller("Goodbye.")
    history.agent("Bye. ", [Call("c1", "end_call", '{"reason": "x"}')])
    history.result("c1", "done")
    history.agent("  ")
    return history


def test_a_chat_request_holds_prompt_history_and_tools() -> None:
    """The system prompt comes first, then everything that was said, called and answered."""
    tool = offered("end_call")
    assert tool is not None
    agent = Agent(prompt="Be kind.", max_tokens=-1, user_id="u", extra_body={"shop": "north"})
    body = request(agent, [tool], _played())
    made = {"name": "end_call", "arguments": '{"reason": "x"}'}
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "assistant", "content": "Hello, the bicycle shop."},
        {"role": "user", "content": "Goodbye."},
        {
            "role": "assistant",
            "content": "Bye.",
            "tool_calls": [{"id": "c1", "type": "function", "function": made}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    assert body["tools"][0]["function"]["name"] == "end_call"
    assert (body["stream"], body["max_tokens"], body["user_id"]) == (True, -1, "u")
    assert body["elevenlabs_extra_body"] == {"shop": "north"}
    assert "temperature" not in body


def test_the_same_history_in_the_other_api() -> None:
    """Prompt becomes instructions, messages become items, and tools are flat."""
    tool = offered("skip_turn")
    assert tool is not None
    agent = Agent(prompt="Be kind.", api_type="responses", max_tokens=50)
    body = request(agent, [tool], _played())
    assert body["instructions"] == "Be kind."
    assert body["max_output_tokens"] == 50
    assert [item.get("type") or item["role"] for item in body["input"]] == [
        "assistant",
        "user",
        "assistant",
        "function_call",
        "function_call_output",
    ]
    assert body["input"][1]["content"] == [{"type": "input_text", "text": "Goodbye."}]
    assert body["input"][3]["call_id"] == body["input"][4]["call_id"] == "c1"
    assert body["tools"][0]["name"] == "skip_turn"
