"""Quirks: what each model is known to refuse, and what else its answers have shown.

One per execution environment, shared by its turns; it holds nothing of a single turn. Lessons about
fields and shapes last as long as the environment. The others are guesses, and one odd answer must
not decide every later turn: they need evidence, they expire, and the first answer that contradicts
them takes them back. Knows what was learnt, not who is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache

from completions.dialects.dialect import Prepared
from completions.errors import UpstreamRefused
from completions.observability import log, printable
from completions.quirks.known_providers import facts_of
from completions.quirks.lessons import WEIGHTY, Keep, Lesson
from completions.settings import Candidate

MODELS_LIMIT = 64
"""Callers may name any number of models: the least recently used one is forgotten."""
LESSONS_LIMIT = 128
"""The most lessons about one model: a server that refuses ever more must not fill memory."""
GUESS_CHARS = (2 * 1024, 16 * 1024)
"""How much of an answer's beginning is treated as a thought after one answer that began inside one,
and after several in a row: if the guess is wrong, that much is heard late."""
GUESS_TTL_S = 600.0
"""How long such a guess holds without new evidence."""
ENDPOINT_RETRY_S = (30.0, 120.0, 600.0)
"""How long an upstream that has refused `/responses` is not asked for it: once, twice, more often.

A gateway in trouble answers 404 as well.
"""

REFUSALS_NEEDED = 2
"""How many refusals in a row must name a `WEIGHTY` field before it is dropped."""


@dataclass(slots=True)
class _Guess:
    """Signs in a row, and when the last one was."""

    signs: int = 0
    at: float = 0.0

    def sign(self, now: float) -> None:
        self.signs, self.at = self.signs + 1, now

    def holds(self, now: float, needed: int) -> bool:
        return self.signs >= needed and 0 <= now - self.at < GUESS_TTL_S


@dataclass(slots=True)
class _Known:
    facts: Lesson
    """What is known of its provider beforehand."""
    lesson: Lesson = field(default_factory=Lesson)
    weighty: dict[str, _Guess] = field(default_factory=dict)
    """Fields whose loss costs much; see `lessons.WEIGHTY`."""
    responses_refused: int = 0
    """How often in a row."""
    responses_refused_at: float = 0.0
    thoughts_first: _Guess = field(default_factory=_Guess)
    """Answers in a row that began inside a thought."""


class Quirks:
    """What each model is known to refuse. Bounded: see `MODELS_LIMIT`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        # Wall clock, so that a freeze counts.
        self._clock = clock
        self._known = lru_cache(MODELS_LIMIT)(lambda model: _Known(facts_of(model)))

    def lesson(self, model: Candidate) -> Lesson:
        """Return what this model is known to refuse; empty for one that has refused nothing."""
        known = self._known(model)
        return known.facts + self._learnt(known)

    def applied(self, model: Candidate, prepared: Prepared) -> Prepared:
        """Return the request without what this model is known to refuse.

        Fields that the deployment itself adds stay until the model refuses them.
        """
        known = self._known(model)
        prepared = known.facts.applied(prepared, but=model.extra_body)
        return self._learnt(known).applied(prepared)

    def _learnt(self, known: _Known) -> Lesson:
        if not known.weighty:
            return known.lesson
        now = self._clock()
        held = (name for name, guess in known.weighty.items() if guess.holds(now, REFUSALS_NEEDED))
        return known.lesson + Lesson(frozenset(held))

    def remember(self, model: Candidate, lesson: Lesson) -> None:
        """Keep a lesson; for `WEIGHTY` fields only count the evidence."""
        if not lesson or lesson.keep is Keep.ONCE:
            return
        log.warning(
            "upstream.learnt",
            candidate=model.key,
            model=printable(model.model),
            dropped=sorted(map(printable, lesson.dropped)),
            renamed=dict(lesson.renamed),
            mended=sorted(lesson.shapes),
        )
        known, weighty = self._known(model), lesson.dropped & WEIGHTY
        if len(known.lesson.dropped) >= LESSONS_LIMIT:
            return
        for name in weighty:
            known.weighty.setdefault(name, _Guess()).sign(self._clock())
        known.lesson += replace(lesson, dropped=lesson.dropped - weighty)

    def doubt(self, model: Candidate, answered: Collection[str]) -> None:
        """Forget suspected refusals of fields that were in a request that was `answered`."""
        if weighty := self._known(model).weighty:
            for name in weighty.keys() & answered:
                del weighty[name]

    def lacks_responses(self, upstream: Candidate) -> bool:
        """Return True while this upstream is assumed to have no `/responses`."""
        known = self._known(upstream)
        retry_s = ENDPOINT_RETRY_S[min(known.responses_refused, len(ENDPOINT_RETRY_S)) - 1]
        age_s = self._clock() - known.responses_refused_at
        return known.responses_refused > 0 and 0 <= age_s < retry_s

    def learn_lacks_responses(self, upstream: Candidate, error: UpstreamRefused) -> bool:
        """Remember for a while that the upstream has no `/responses`, if `error` says so."""
        if lacks := _lacks_path(error):
            known = self._known(upstream)
            known.responses_refused += 1
            known.responses_refused_at = self._clock()
            log.warning("upstream.lacks_responses", candidate=upstream.key)
        return lacks

    def learn_has_responses(self, upstream: Candidate) -> None:
        """Forget earlier refusals: `/responses` has answered."""
        self._known(upstream).responses_refused = 0

    def guess_chars(self, model: Candidate) -> int:
        """Return how much of the model's next answer to treat as a thought without an opening tag.

        The templates of some models open a `<think>` in the prompt.
        """
        guess = self._known(model).thoughts_first
        if not guess.holds(self._clock(), 1):
            return 0
        return GUESS_CHARS[min(guess.signs, len(GUESS_CHARS)) - 1]

    def learn_thinks_first(self, model: Candidate, *, began_inside: bool) -> None:
        """Note whether the first tag of a complete answer closed a thought."""
        guess = self._known(model).thoughts_first
        if began_inside:
            guess.sign(self._clock())
        else:
            guess.signs = 0

    def doubt_thinks_first(self, model: Candidate) -> None:
        """Require new evidence: an answer was given up while it was treated as a thought."""
        self._known(model).thoughts_first.signs = 0


def _lacks_path(error: UpstreamRefused) -> bool:
    """Return True if a 404 means the path, not something that the request names.

    A model, an item or an earlier response that is not found is a 404 as well; then `code` ends in
    `_not_found`, or `param` says where the request named it.
    """
    named = error.param is not None or error.code.endswith("_not_found")
    return error.status == 405 or (error.status == 404 and not named)
