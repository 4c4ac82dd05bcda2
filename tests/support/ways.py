"""The three ways in which a turn is answered, behind one interface.

A way is the caller's API and the upstream's: chat completions over chat completions, responses over
responses, and responses over an upstream that has only chat completions. Tests are written once and
hold for all three: a way writes the request, plays the turn and reads the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import looptime

from completions.dialects import chat, responses
from completions.dialects.dialect import Dialect
from completions.errors import UpstreamRefused
from local.scripted.script_player import Scene
from tests.support import responses_rules, rules
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller, Heard

T = TypeVar("T")
LONGEST_S = 600
"""A turn that takes this long in virtual time would never end."""


def in_virtual_time(scene: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop with virtual time, for tests of many examples.

    Raises:
        TimeoutError: it does not end.
    """

    async def bounded() -> T:
        async with asyncio.timeout(LONGEST_S):
            return await scene

    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0)) as runner:
        return runner.run(bounded())


@dataclass(slots=True)
class Answer:
    """One answer as a strict client reads it, in either API."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Name and decoded arguments of each."""
    finish: str = ""
    error: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    speech: list[tuple[int, str]] = field(default_factory=list)
    """Each spoken piece with its milliseconds from the request's arrival."""


@dataclass(frozen=True, slots=True)
class Way:
    """The caller's API (`dialect`), and whether the upstream has only chat completions."""

    name: str
    dialect: Dialect
    over_chat: bool = False

    def __str__(self) -> str:
        return self.name

    def body(
        self,
        text: str = "What is the weather?",
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        history: Sequence[tuple[str, str]] | None = None,
        json_format: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Return a request as the voice platform sends it; `tools` are functions, not wrapped."""
        turns = [("user", text)] if history is None else history
        messages = [{"role": role, "content": words} for role, words in turns]
        request: dict[str, Any] = {"model": "m", "stream": True}
        if self.dialect is chat:
            request["messages"] = [{"role": "system", "content": "Be brief."}, *messages]
            if tools:
                request["tools"] = [{"type": "function", "function": dict(tool)} for tool in tools]
            if json_format:
                request["response_format"] = {"type": "json_object"}
        else:
            request |= {"instructions": "Be brief.", "input": messages}
            if tools:
                request["tools"] = [{"type": "function", **tool} for tool in tools]
            if json_format:
                request["text"] = {"format": {"type": "json_object"}}
        return request | more

    def caller(self, upstream: PlayedUpstream, **settings: Any) -> Caller:
        """Return an environment; over chat it already knows that there is no `/responses`."""
        caller = Caller(upstream, **settings)
        if self.over_chat:
            for candidate in caller.settings.candidates:
                caller.state.quirks.learn_lacks_responses(
                    candidate, UpstreamRefused("No such path.", status=404)
                )
        return caller

    async def post(
        self, caller: Caller, request: Mapping[str, Any] | None = None, **more: Any
    ) -> Heard:
        """Play one turn of this caller."""
        return await caller.post(request or self.body(), dialect=self.dialect, **more)

    async def turn(
        self,
        *scenes: Scene,
        fallback: Scene | None = None,
        settings: Mapping[str, Any] | None = None,
        post: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> tuple[Answer, PlayedUpstream, Heard]:
        """Play one turn in a new environment whose upstream plays these scenes.

        `settings` are the deployment's, `post` holds arguments of `Caller.post`, and `fields` are
        further fields of the request.
        """
        upstream = PlayedUpstream(*scenes, fallback=fallback)
        caller = self.caller(upstream, **(settings or {}))
        heard = await self.post(caller, self.body(**fields), **(post or {}))
        return self.read(heard), upstream, heard

    def read(self, heard: Heard) -> Answer:
        """Check every rule of the API's wire format; return the answer."""
        assert heard.ended
        if heard.headers["content-type"] == "application/json":
            answer = self._whole(heard)
        else:
            assert heard.status == 200
            assert heard.headers["content-type"].startswith("text/event-stream")
            answer = self.stream(heard.body)
            answer.speech = self._speech(heard)
        assert "think>" not in answer.text
        return answer

    def stream(self, data: bytes) -> Answer:
        """Do the same for the bytes of a stream."""
        if self.dialect is responses:
            return _response(responses_rules.check(data), responses_rules.events_in(data)[-1])
        spoken = rules.check(data)
        calls = [(name, json.loads(arguments)) for name, arguments in spoken.calls]
        return Answer(
            spoken.text, spoken.reasoning, calls, spoken.finish, spoken.error, spoken.usage
        )

    def _whole(self, heard: Heard) -> Answer:
        body = json.loads(heard.body)
        if heard.status != 200:
            assert set(body["error"]) == {"message", "type", "param", "code"}
            return Answer(error=body["error"])
        if self.dialect is responses:
            return _response(body["output"], {"response": body})
        assert body["object"] == "chat.completion"
        (choice,) = body["choices"]
        message = choice["message"]
        calls = [
            (call["function"]["name"], _decoded(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        text = message.get("content") or message.get("refusal") or ""
        reasoning = message.get("reasoning_content") or ""
        finish = choice["finish_reason"]
        return Answer(text, reasoning, calls, finish, usage=body.get("usage"))

    def _speech(self, heard: Heard) -> list[tuple[int, str]]:
        if self.dialect is chat:
            return heard.speech
        return [
            (at_ms, event["delta"])
            for at_ms, event in heard.events
            if isinstance(event, dict) and event["type"] == "response.output_text.delta"
        ]


def _decoded(arguments: str) -> Any:
    """Return decoded arguments, or the text as it is: a buffered answer may hold invalid ones."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _response(output: Sequence[Mapping[str, Any]], last: Mapping[str, Any]) -> Answer:
    answer = Answer(error=last.get("error"))
    for item in output:
        if item["type"] == "function_call":
            answer.calls.append((item["name"], _decoded(item["arguments"])))
            continue
        words = "".join(
            part.get("text") or part.get("refusal") or ""
            for listed in ("content", "summary")
            for part in item.get(listed) or ()
        )
        if item["type"] == "message":
            answer.text += words
        else:
            answer.reasoning += words
    if answer.error is None:
        response = last["response"]
        reason = (response.get("incomplete_details") or {}).get("reason")
        named = {"max_output_tokens": "length", None: "tool_calls" if answer.calls else "stop"}
        answer.finish = named.get(reason, str(reason))
        assert response["status"] == ("incomplete" if reason else "completed")
        answer.usage = response.get("usage")
    return answer


CHAT = Way("chat", chat)
RESPONSES = Way("responses", responses)
OVER_CHAT = replace(RESPONSES, name="responses over chat", over_chat=True)
WAYS = (CHAT, RESPONSES, OVER_CHAT)
