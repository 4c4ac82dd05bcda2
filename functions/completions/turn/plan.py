"""What a turn may do and until when: the deployment's settings applied to one request.

Moments are the event loop's time, in seconds. Knows no wire format and writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from completions.dialects.dialect import Dialect
from completions.dialects.request import ParsedRequest
from completions.immutable import immutable
from completions.quirks.quirks import Quirks
from completions.race.attempts import Askable
from completions.race.health import Health
from completions.race.question import ModelClient, Question
from completions.race.requests import Requests
from completions.race.timeouts import Timeouts
from completions.race.waits import RETRY_WAITS_S, Waits
from completions.settings import Candidate, Settings
from completions.speech import buffer_words
from completions.speech.phrases import PHRASES, Phrases
from completions.turn.record import TurnRecord

if TYPE_CHECKING:
    from completions.agent_api.loading import Responder

DEADLINE_MARGIN_S = 1.5
"""The turn ends itself this long before Lambda's deadline; at 0.5 s the layer uses force."""
SPOKEN_WAIT_S = 12.0
"""The longest `Retry-After` that our words cover."""
UNSPOKEN_WAIT_S = 3.0
"""The same without our words: a longer `Retry-After` is reported, not waited for."""
ANSWER_NEEDS_S = 3.0
"""Another whole answer is not begun with less time left than this."""
FIRST_WORD_NEEDS_S = 1.0
"""Nobody is asked again for a first word with less time left than this."""
SECOND_BUFFER_WORDS_S = 5.0
"""Delay from the first buffer words to the second, the last."""
AGE_LIMIT_S = 10.0
"""The oldest that a request can be: clocks differ."""


@immutable
class AppState:
    """What an execution environment keeps between turns; it holds nothing of a single turn."""

    settings: Settings
    upstream: ModelClient
    health: Health
    quirks: Quirks
    agent: Responder | None = None


@immutable
class Arrival:
    """When the request came in, and how long Lambda will let it run; None outside Lambda."""

    epoch_s: float | None = None
    remaining_s: float | None = None
    seen_at: float | None = None
    """When the function got it (loop time)."""
    cold: bool = False
    """True for the first request of an environment."""


class Plan:
    """One turn's plan. Create it inside the event loop."""

    def __init__(
        self,
        state: AppState,
        dialect: Dialect,
        request: ParsedRequest,
        arrival: Arrival,
        *,
        on_failure: str,
    ) -> None:
        settings = state.settings
        now = asyncio.get_running_loop().time()
        self._request = request
        self._settings = settings
        self.arrival = arrival
        self.health = state.health
        self.record = TurnRecord()
        self.requests = Requests()
        if state.agent is not None:
            self.requests.limit = settings.agent_request_limit
        seen_at = now if arrival.seen_at is None else arrival.seen_at
        # Reading the keys counts: without Lambda the earliest known moment is when we got it.
        self.arrived = min(now - _age_s(arrival), seen_at)
        self.deadline = self.arrived + settings.turn_limit_ms / 1000
        if arrival.remaining_s is not None:
            lambdas = seen_at + arrival.remaining_s - DEADLINE_MARGIN_S
            self.deadline = min(self.deadline, lambdas)
        budget_ms = (
            settings.tool_turn_budget_ms if request.after_tool_result else settings.turn_budget_ms
        )
        self._budget_s = budget_ms / 1000
        self.budget_ends = self.arrived + self._budget_s if budget_ms else None
        self.timeouts = Timeouts(
            settings.hedge_after_ms / 1000,
            settings.first_token_timeout_ms / 1000,
            settings.reasoning_timeout_ms / 1000,
            settings.stall_timeout_ms / 1000,
        )
        self.waits = Waits(RETRY_WAITS_S)
        self._speaks_on_failure = on_failure == "speak"
        self.fails_in_words = request.speakable and self._speaks_on_failure
        """True if a model's failure becomes words, not a status, and our words may fill gaps."""
        self._language = buffer_words.language_of(request, settings.language)
        question = Question(
            dialect,
            request,
            state.upstream,
            state.quirks,
            self.requests,
            clean=self._clean,
            chain_holder=settings.candidates[0],
            candidates=settings.candidates,
        )
        self.question: Askable = question
        self._models: tuple[Candidate, ...] = settings.candidates
        if state.agent is not None:
            # Here, since most deployments have no agent: a cold start pays for every import.
            from completions.agent_api.agent_question import AGENT, in_models_place
            from completions.agent_api.model_questions import ModelQuestions

            questions = ModelQuestions(
                question, self.health, self.timeouts, self.waits, self._in_order
            )
            self.question = in_models_place(state.agent, questions, request)
            self._models = (AGENT,)
            # The agent's questions to models have timers; the agent itself may pause between words.
            self.timeouts, self.waits = Timeouts(), Waits()

    @property
    def starts_early(self) -> bool:
        """True if the status is 200 whatever a model does, as soon as one has been asked.

        Not for a chained request: a client that learns that the chain is unknown sends all of it.
        """
        return self.fails_in_words and not self._request.chained

    def candidates(self) -> list[Candidate]:
        """Return whom to ask, in order."""
        return self.health.order(self._models)

    def _in_order(self) -> list[Candidate]:
        return self.health.order(self._settings.candidates)

    def ask_until(self, budget_ends: float | None) -> float:
        """Return the last moment to ask again in a turn whose budget ends at `budget_ends`."""
        in_time = self.deadline - ANSWER_NEEDS_S
        return in_time if budget_ends is None else min(in_time, budget_ends - FIRST_WORD_NEEDS_S)

    @property
    def wait_limit_s(self) -> float:
        """The longest wait that a `Retry-After` may ask for."""
        return SPOKEN_WAIT_S if self.fails_in_words else UNSPOKEN_WAIT_S

    def new_budget(self) -> float | None:
        """Return when an answer that is asked for now must be audible; None for no limit."""
        if not self._budget_s:
            return None
        return asyncio.get_running_loop().time() + self._budget_s

    @property
    def phrases(self) -> Phrases:
        """Our own phrases, in the caller's language."""
        return PHRASES[self._language]

    @property
    def buffer_words_due_at(self) -> float | None:
        """When the first buffer words are due; None if there are none in this turn."""
        request, after_s = self._request, self.pause_after_s
        if not after_s or not request.user_spoke:
            return None
        # Assistant text that is still being spoken covers part of the wait.
        return self.arrived + after_s * (2 if request.assistant_spoke_since else 1)

    @property
    def pause_after_s(self) -> float:
        """How long a caller may hear nothing before words of ours; 0 if there are none."""
        after_ms = self._request.extra.buffer_words_after_ms
        if after_ms is None:
            # Buffer words mean status 200: with OnFailure=error they must be asked for.
            after_ms = self._settings.buffer_words_after_ms if self._speaks_on_failure else 0
        return after_ms / 1000 if self._request.speakable else 0.0

    def next_buffer_words(self, count: int, last: str | None) -> str | None:
        """Return the next buffer words, or None if there are none left to say."""
        return buffer_words.choose_phrase(
            self._request,
            language=self._language,
            configured=self._settings.buffer_words,
            count=count,
            last=last,
        )

    def _clean(self, text: str) -> str:
        """Return an assistant text without our words, which models would imitate."""
        own = (*self._settings.buffer_words, *(self._request.extra.buffer_words or ()))
        return buffer_words.strip_phrases(text, own)


def _age_s(arrival: Arrival) -> float:
    if arrival.epoch_s is None:
        return 0.0
    return min(max(time.time() - arrival.epoch_s, 0.0), AGE_LIMIT_S)
