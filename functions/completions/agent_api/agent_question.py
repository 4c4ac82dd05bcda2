"""An agent that answers instead of the model: to the turn's race it is an ordinary candidate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from completions.agent_api import agent_errors
from completions.agent_api.agent_run import END, Run
from completions.agent_api.conversation import Conversation
from completions.agent_api.events import EventReader
from completions.agent_api.loading import Responder
from completions.agent_api.model_questions import ModelQuestions
from completions.dialects import chat
from completions.dialects.deltas import Chunk, Delta, Done, Finish
from completions.dialects.request import ParsedRequest
from completions.observability import log
from completions.settings import Candidate

AGENT = Candidate("responder", "")
"""An agent as a candidate; logs call it `responder`."""
PARAMETERS = (
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "temperature",
    "tool_choice",
    "top_p",
    "verbosity",
)
"""The fields that say how to answer, if every framework may pass them on."""
RUNS = 2
"""An agent that fails before its first word is run once more."""


@dataclass(slots=True)
class _Runs:
    """The runs of one turn."""

    left: int = RUNS
    current: Run | None = None

    def none_left(self) -> None:
        """Note that another run would not help."""
        self.left = 0


@dataclass(frozen=True)
class AgentQuestion:
    """A turn's question to an agent instead of a model; see `attempts.Askable`."""

    agent: Responder
    questions: ModelQuestions
    fields: Mapping[str, Any]
    """The fields of the agent's `Conversation`."""
    runs: _Runs = field(default_factory=_Runs)

    @property
    def can_ask(self) -> bool:
        """True while the agent may be run again."""
        return self.runs.left > 0

    @property
    def requests_left(self) -> int:
        """How many times the agent may still be run."""
        return self.runs.left

    @property
    def can_change_task(self) -> bool:
        """False: an agent's time-outs and task groups belong to the task that runs it."""
        return False

    def after_silence(self) -> AgentQuestion:
        """Return the same question: an agent's silence is its own decision."""
        return self

    def given_up(self) -> None:
        """Note that the run is being cancelled."""
        if self.runs.current is not None:
            self.runs.current.cancel()

    def with_feedback(self, answer: str, feedback: str) -> AgentQuestion:
        """Return the conversation continued by the answer and what was wrong with it."""
        body = chat.with_feedback({"messages": list(self.fields["messages"])}, answer, feedback)
        return replace(self, fields={**self.fields, "messages": body["messages"]})

    async def ask(
        self,
        _: Candidate,
        source: int,
        /,
        *,
        hedge: bool = False,  # noqa: ARG002 - an agent is not hedged; what it asks may be
    ) -> AsyncGenerator[list[Chunk], None]:
        """Yield what the agent yields, each piece at once; raise what it raises."""
        self.runs.left -= 1
        self.questions.note_agent_began()
        self.runs.current = run = Run(self.questions)
        reader = EventReader()

        def chunk(deltas: Sequence[Delta]) -> list[Chunk]:
            return [Chunk(None, tuple(deltas), unchanged=False, source=source)]

        def platform_calls() -> list[Delta]:
            return [delta for call in run.take_calls() for delta in reader.read(call)]

        try:
            async with aclosing(self.agent(Conversation(**self.fields, _run=run))) as events:
                while (event := await run.next_event(events)) is not END:
                    yield chunk([*platform_calls(), *reader.read(event)])
        except Exception as error:
            if calls := platform_calls():
                yield chunk(calls)
            if run.handed_over:
                # It expected an answer for itself, but the model only called the platform.
                log.info("agent.ended", reason=type(error).__name__)
            else:
                self._raise(error)
        finally:
            await run.close()
        finish = [*reader.flush(), *platform_calls()]
        yield chunk([*finish, Finish("tool_calls" if reader.calls else "stop"), Done()])

    def _raise(self, error: Exception) -> None:
        """Raise the model's error if the agent did not catch it, or else the agent's own.

        Raises:
            CompletionsError: why a model did not answer.
        """
        failure = agent_errors.of_model(error, self.questions.failures)
        if failure is None:
            raise error
        if failure in self.questions.exhausted:
            self.runs.none_left()
        if failure is error:
            raise error
        raise failure from error


def in_models_place(
    agent: Responder, questions: ModelQuestions, request: ParsedRequest
) -> AgentQuestion:
    """Return a turn's `request` put to its agent, which may ask `questions` of its own."""
    body = questions.callers_request.body
    fields = {
        "messages": body.get("messages") or [],
        "tools": body.get("tools") or [],
        "model": request.model,
        "extra": request.extra.raw,
        "id": request.call_id,
        "headers": request.headers,
        "body": request.body,
        "parameters": {name: body[name] for name in PARAMETERS if body.get(name) is not None},
        "user_text": request.user_text if request.user_spoke else "",
    }
    return AgentQuestion(agent, questions, fields)
