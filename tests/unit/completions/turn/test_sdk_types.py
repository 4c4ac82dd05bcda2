"""Whatever happens in a turn, its output fits the SDK's own types, read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects import chat
from local.scripted import wires_responses
from local.scripted.script import (
    At,
    Cut,
    Decline,
    Done,
    Finish,
    Role,
    Say,
    Think,
    Usage,
    answer,
    call,
    calls,
    refused,
)
from local.scripted.script_player import Scene
from tests.support import sdk_types
from tests.support.turns import Heard
from tests.support.ways import RESPONSES, Way

pytestmark = pytest.mark.looptime

TOOL = {
    "name": "set_count",
    "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}},
}
CALL = call("set_count", {"count": 2})
SCENES: dict[str, list[Scene]] = {
    "words": [answer("Yes, until six.")],
    "usage": [[*answer("Yes.")[:-1], Usage(), Done()]],
    "late words": [[At(7_000), *answer("Yes, until six.")]],
    "a call": [calls("set_count", {"count": 2})],
    "two calls": [
        [Role(), *CALL, *call("set_count", {"count": 3}, index=1), Finish("tool_calls"), Done()]
    ],
    "a mended call": [calls("set_count", '{"count": "2",}')],
    "words and a call": [[Role(), Say("One moment. "), *CALL, Finish("tool_calls"), Done()]],
    "a late call": [[At(2_000), *calls("set_count", {"count": 2})]],
    "a call that never comes right": [calls("set_count", "{")],
    "reasoning": [[Role(), Think("Hm."), *answer("Yes.")[1:]]],
    "thoughts in tags": [answer("<think>Hm.</think>Yes.")],
    "late reasoning": [[At(2_000), Role(), Think("Hm."), *answer("Yes.")[1:]]],
    "a refusal": [[Role(), Decline("I can't."), Finish("stop"), Done()]],
    "its limit": [[Role(), Say("Yes, un"), Finish("length"), Done()]],
    "a filter": [[Role(), Say("Yes, un"), Finish("content_filter"), Done()]],
    "a cut and another answer": [[Role(), Say("Yes, "), Cut()], answer("until six.")],
    "a cut and nobody": [[Role(), Say("Yes, until six. And "), Cut()], refused(500)],
    "nothing": [[Role(), Finish("stop"), Done()]],
    "errors": [refused(500)],
    "a late error": [[At(3_000), *refused(500)]],
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("on_failure", ["speak", "error"])
@pytest.mark.parametrize("scenes", SCENES.values(), ids=SCENES)
async def test_the_output_fits_the_sdks_types(
    way: Way, scenes: list[Scene], on_failure: str, stream: bool
) -> None:
    """No field is missing, of another type, or unknown to the types."""
    fields: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    _, _, heard = await way.turn(
        *scenes, tools=[TOOL], stream=stream, post={"on_failure": on_failure}, **fields
    )
    _hold(way, heard)


def _hold(way: Way, heard: Heard) -> None:
    if heard.status == 200:
        hold = sdk_types.check_chat if way.dialect is chat else sdk_types.check_response
        hold(heard.body)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["words", "usage", "a call", "words and a call", "reasoning"])
async def test_fields_that_an_older_server_leaves_out_are_filled_in(
    monkeypatch: pytest.MonkeyPatch, name: str, stream: bool
) -> None:
    """Clients' types have gained required fields since it was written."""
    monkeypatch.setattr(wires_responses.ResponsesStream, "_response", _older_response)
    monkeypatch.setattr(wires_responses, "_logprobs", lambda _: {})
    _, _, heard = await RESPONSES.turn(*SCENES[name], tools=[TOOL], stream=stream)
    _hold(RESPONSES, heard)


_RESPONSE = wires_responses.ResponsesStream._response


def _older_response(stream: wires_responses.ResponsesStream, status: str) -> dict[str, Any]:
    whole = _RESPONSE(stream, status)
    for later in ("parallel_tool_calls", "tool_choice", "tools"):
        del whole[later]
    if whole["usage"]:
        whole["usage"] = {"input_tokens": 4, "output_tokens": 3}
    for item in whole["output"]:
        for part in item.get("content", ()):
            part.pop("annotations", None)
    return whole
