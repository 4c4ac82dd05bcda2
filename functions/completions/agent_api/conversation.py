"""The conversation that an agent answers, and its questions to the configured models."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from completions.agent_api import frameworks
from completions.agent_api.agent_run import Run
from completions.agent_api.events import Event, Say, Think, from_model
from completions.dialects import chat
from completions.dialects.deltas import CallPart, Reasoning, Refusal, Text
from completions.errors import InvalidRequest
from completions.race.attempts import EmptyAnswer
from completions.tools.held_calls import HeldCalls

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True)
class Conversation:
    """What the platform asked, in Chat Completions' terms whichever API it used.

    All of it comes from the client: never base authorisation on it. `headers` and `body` may hold
    telephone numbers, names and what was said: treat them in logs like a recording.
    """

    messages: Sequence[Any]
    """As they came."""
    tools: Sequence[Any]
    """The platform's tools, as they came."""
    model: str
    """The model that the caller named."""
    extra: Mapping[str, Any]
    """`elevenlabs_extra_body`."""
    id: str
    """The call's id, from wherever its platform puts it; empty if it sends none."""
    headers: Mapping[str, str]
    """Ids, `x-agent-…` and a few others, in lower case; never a key."""
    body: Mapping[str, Any]
    """The whole request, in the terms of the API that the caller used."""
    parameters: Mapping[str, Any]
    """How to answer, if the caller says so: `temperature`, `response_format` and the like."""
    user_text: str
    """The user's last words; empty if nobody spoke."""
    _run: Run = field(repr=False)

    @cached_property
    def client(self) -> AsyncOpenAI:
        """An OpenAI client whose requests are this turn's: see `completions.responder.client`."""
        from completions.agent_api.client import client

        return client(run=self._run)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The messages as input items of the Responses API: openai-agents takes them."""
        return frameworks.items(self.messages)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **parameters: Any,
    ) -> AsyncGenerator[Event, None]:
        """Ask the configured models; yield the words and calls of the first one to answer.

        Without `messages` or `tools` the caller's are sent; `parameters` are further fields of the
        request (`temperature`, `max_tokens`). Tool calls come after the words. An empty answer
        yields nothing. Each question makes three requests at most.

        Raises:
            CompletionsError: nobody answered.
            ValueError: the request is not valid.
        """
        body = {
            **self._run.questions.callers_request.body,
            **parameters,
            "messages": list(self.messages if messages is None else messages),
            "tools": list(self.tools if tools is None else tools),
            "stream": True,
        }
        body.pop("n", None)  # An agent can follow only one answer.
        try:
            request = chat.parse(body)
        except InvalidRequest as error:
            # The agent's mistake: the caller's request was good.
            raise ValueError(f"Conversation.ask: {error.message}") from error
        held = HeldCalls(request.tools)
        try:
            async with aclosing(self._run.answer(chat, request)) as answer:
                async for batch in answer:
                    for chunk in batch:
                        if any(isinstance(delta, CallPart) for delta in chunk.deltas):
                            held.add(chunk)
                        for delta in chunk.deltas:
                            if isinstance(delta, Text | Refusal):
                                yield Say(delta.text)
                            elif isinstance(delta, Reasoning):
                                yield Think(delta.text)
        except EmptyAnswer:
            return
        for call in held.unchecked():
            yield from_model(call)
