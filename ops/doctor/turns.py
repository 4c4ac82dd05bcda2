"""The requests to send: in the shapes that voice platforms send, and that break naive servers.

From ElevenLabs' and Vapi's documentation of custom LLMs, and from reports by people who run such
servers. Only a table: does not know how the answers are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ops.doctor.strict_reader import Call

TOKENS = 300
SYSTEM = {"role": "system", "content": "You answer a phone. Be brief."}
ASK = {"role": "user", "content": "Answer with one word: yes."}
OURS = {"language": "en"}
"""The deployment's own words come in this language, so that the doctor can recognise them."""
LOOK_UP = {
    "name": "look_up_order",
    "description": "Looks up an order by its number. Call it whenever an order is asked about.",
    "parameters": {
        "type": "object",
        "properties": {"number": {"type": "integer", "description": "The order's number"}},
        "required": ["number"],
    },
}
_ORDER = {"role": "user", "content": "Where is my order number 42?"}
_MADE_UP = Call("call_doctor", "look_up_order", '{"number": 42}')
PROMPT_BYTES = 2_000_000
ERRORS_AS_STATUS = {"x-completions-on-failure": "error"}


@dataclass(frozen=True, slots=True)
class Turn:
    """A streamed turn. `path` has `{base}`, or `{bare}`: the base without its /v1."""

    name: str
    body: Callable[[Sequence[Call]], dict[str, Any]]
    """The turn's messages, from the model's calls in the turn before."""
    path: str = "{base}/chat/completions"
    kind: str = ""
    """`short` and `long` answers are compared, `call` wants a call, `shape` has a history that
    some model APIs refuse, `large` judges the server and not the model, `leave` is interrupted."""

    @property
    def responses(self) -> bool:
        """The other dialect."""
        return self.path.endswith("/responses")


def _chat(*messages: dict[str, Any], **more: Any) -> Callable[[Sequence[Call]], dict[str, Any]]:
    body = {
        "messages": [SYSTEM, *messages],
        "stream": True,
        "max_tokens": TOKENS,
        "elevenlabs_extra_body": OURS,
        **more,
    }
    return lambda _: dict(body)


def _result(calls: Sequence[Call]) -> dict[str, Any]:
    call = calls[0] if calls else _MADE_UP
    made = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    answer = {"number": 42, "status": "It is on its way and arrives tomorrow."}
    return _chat(
        _ORDER,
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps(answer)},
        tools=[{"type": "function", "function": LOOK_UP}],
    )(())


def _response(_: Sequence[Call]) -> dict[str, Any]:
    return {
        "instructions": SYSTEM["content"],
        "input": [{"role": "user", "content": [{"type": "input_text", "text": ASK["content"]}]}],
        "max_output_tokens": TOKENS,
        "stream": True,
        "elevenlabs_extra_body": OURS,
    }


def _made(call_id: str) -> dict[str, Any]:
    function = {"name": LOOK_UP["name"], "arguments": '{"number": 42}'}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _result_of(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "It arrives tomorrow."}


_HELLO = {"role": "assistant", "content": "Hello, how can I help?"}
_TOOLS = {"tools": [{"type": "function", "function": LOOK_UP}]}
_PARTS = [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be quick."}]


def _shape(name: str, *messages: dict[str, Any], **more: Any) -> Turn:
    return Turn(name, _chat(*messages, **more), kind="shape")


SHAPES = (
    _shape("the assistant first", _HELLO, ASK),
    _shape("the assistant last", ASK, _HELLO),
    _shape("a developer message", {"role": "developer", "content": "Be kind."}, ASK),
    _shape("system message later", ASK, _HELLO, {"role": "system", "content": "Be kind."}, ASK),
    _shape("two users in a row", {"role": "user", "content": "Hello?"}, ASK),
    _shape("empty contents", {"role": "user", "content": ""}, {**_HELLO, "content": ""}, ASK),
    _shape(
        "content in parts",
        {"role": "system", "content": _PARTS},
        {"role": "assistant", "content": _PARTS},
        ASK,
    ),
    _shape("a call without a result", _ORDER, _made("call_1"), ASK, **_TOOLS),
    _shape("a result without a call", _HELLO, _result_of("call_1"), ASK, **_TOOLS),
    _shape("a result without a name", _ORDER, _made("call_1"), _result_of("call_1"), **_TOOLS),
    _shape("metadata", ASK, metadata={"turns": 3}, user="caller-1"),
    _shape("an empty list of tools", ASK, tools=[]),
)
"""What some model APIs refuse, a row each (the function's `quirks/shapes` fixes them)."""

_STORY = {
    "role": "user",
    "content": "Tell me a story about a sailor and a storm, ten sentences long.",
}
_TELL = {"messages": [{"role": "system", "content": "You tell stories on the phone."}, _STORY]}

TURNS = (
    Turn("a turn", _chat(ASK), kind="short"),
    Turn("a long answer", _chat(**_TELL), kind="long"),
    Turn("Responses API", _response, "{base}/responses"),
    Turn(
        "a tool is offered",
        _chat(_ORDER, tools=[{"type": "function", "function": LOOK_UP}]),
        kind="call",
    ),
    Turn("the tool's result", _result),
    Turn(
        "null, parts and silence",
        _chat(
            {"role": "assistant", "content": None},
            {"role": "user", "content": [{"type": "text", "text": "Hello?"}]},
            {"role": "assistant", "content": "Hello, I am"},
            {"role": "user", "content": "..."},
            {"role": "assistant", "content": ""},
            ASK,
        ),
    ),
    Turn("no user message", _chat(), kind="short"),
    *SHAPES,
    Turn("path pasted twice", _chat(ASK), "{base}/chat/completions/chat/completions/", "short"),
    Turn("path without /v1", _chat(ASK), "{bare}/chat/completions", "short"),
    Turn(
        "unknown fields",
        _chat(
            ASK,
            user_id="caller-1",
            elevenlabs_extra_body={**OURS, "plan": {"name": "gold"}},
            temperature=0.5,
            call={"id": "c"},
            phoneNumber=None,
            customer={"number": "+4930"},
            made_up=[1],
        ),
        kind="short",
    ),
    Turn("max_tokens -1", _chat(ASK, max_tokens=-1), kind="short"),
    Turn("an interruption", _chat(**_TELL), kind="leave"),
    Turn("the turn after it", _chat(ASK), kind="short"),
    Turn(
        # Blanks, because many fit into one token, and tokens cost money.
        "a 2 MB prompt",
        lambda _: (
            _chat(ASK)(())
            | {"messages": [{**SYSTEM, "content": SYSTEM["content"] + " " * PROMPT_BYTES}, ASK]}
        ),
        kind="large",
    ),
)
