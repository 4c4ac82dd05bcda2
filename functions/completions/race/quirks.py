"""Quirks: the fields that each model refuses, and what else its answers have shown.

One per execution environment, shared by its turns; nothing in it belongs to one of them.
Lessons about fields last as long as the environment. The others are guesses, which one odd answer
could suggest for every later turn: they need evidence, they expire, and the first answer that
contradicts them takes them back. Knows requests and refusals; nothing of who is asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from completions.dialects.dialect import Prepared
from completions.dialects.shapes import mended, refused_shapes
from completions.errors import UpstreamRefused
from completions.observability import log, printable
from completions.settings import Candidate

MODELS_LIMIT = 64
"""Callers may name as many models as they like: the one used longest ago is forgotten."""
THOUGHTS_NEEDED = 2
"""So many answers in a row must begin inside a thought before the next one is taken to do so."""
GUESS_TTL_S = 600.0
"""How long such a guess holds without a new sign of it."""
ENDPOINT_RETRY_S = (30.0, 120.0, 600.0)
"""How long an upstream that has refused `/responses` is not asked for it: once, twice, more often.

A gateway in trouble answers 404 as well.
"""

RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""A field refused under one name is tried once under the other."""
NEEDED = frozenset({"messages", "input", "model", "stream", "previous_response_id", "conversation"})
"""Fields without which it is not this request."""
WEIGHTY = frozenset({"tools", "tool_choice", "functions", "response_format", "text"})
"""Dropped only where the model does not take them at all: a mistake inside one is the caller's."""
_BLAMES_VALUE = re.compile(r"invalid|missing|.*(above|below|too_)")
"""Error codes that blame a value, not the field (platform.openai.com/docs/guides/error-codes)."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one model does not take: fields to leave out or to rename, and shapes to mend."""

    dropped: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    shapes: frozenset[str] = frozenset()
    """Names of rows of `dialects.shapes`."""
    lasting: bool = True
    """False where one request's value was refused: such a lesson is used once, not remembered."""

    def __add__(self, other: Lesson) -> Lesson:
        return Lesson(
            self.dropped | other.dropped,
            {**self.renamed, **other.renamed},
            self.shapes | other.shapes,
            self.lasting and other.lasting,
        )

    def __bool__(self) -> bool:
        return bool(self.dropped or self.renamed or self.shapes)

    def applied(self, prepared: Prepared) -> Prepared:
        """Return the request without what this model refuses."""
        if not self:
            return prepared
        names = {name: self.renamed.get(name, name) for name in prepared.body}
        body = {
            names[name]: value
            for name, value in prepared.body.items()
            if names[name] not in self.dropped
        }
        return Prepared(mended(body, self.shapes), prepared.added & body.keys())


@dataclass(slots=True)
class _Known:
    lesson: Lesson = field(default_factory=Lesson)
    responses_refused: int = 0
    """How often in a row."""
    responses_refused_at: float = 0.0
    thoughts_first: int = 0
    """How many answers in a row began inside a thought."""
    thoughts_first_at: float = 0.0


class Quirks:
    """What each model is known to refuse. Bounded: see `MODELS_LIMIT`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        # Wall clock, so that a freeze counts.
        self._clock = clock
        self._known = lru_cache(MODELS_LIMIT)(lambda _: _Known())

    def lesson(self, model: Candidate) -> Lesson:
        """Return what this model is known to refuse; empty for one that has refused nothing."""
        return self._known(model).lesson

    def remember(self, model: Candidate, lesson: Lesson) -> None:
        """Keep a lesson that has proved right: with it, the model answered."""
        if not lesson.lasting:
            return
        log.warning(
            "upstream.learnt",
            candidate=model.key,
            model=printable(model.model),
            dropped=sorted(lesson.dropped),
            renamed=dict(lesson.renamed),
            mended=sorted(lesson.shapes),
        )
        self._known(model).lesson += lesson

    def lacks_responses(self, upstream: Candidate) -> bool:
        """Return True while this upstream is taken to have no `/responses`."""
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

    def thinks_first(self, model: Candidate) -> bool:
        """Return True if the model's answers begin inside a `<think>` that its template opened."""
        known = self._known(model)
        fresh = 0 <= self._clock() - known.thoughts_first_at < GUESS_TTL_S
        return fresh and known.thoughts_first >= THOUGHTS_NEEDED

    def learn_thinks_first(self, model: Candidate, *, began_inside: bool) -> None:
        """Note of a whole answer whether its first tag closed a thought."""
        known = self._known(model)
        if began_inside:
            known.thoughts_first += 1
            known.thoughts_first_at = self._clock()
        else:
            known.thoughts_first = 0

    def doubt_thinks_first(self, model: Candidate) -> None:
        """Ask for one more sign: an answer was given up while it was taken for a thought."""
        known = self._known(model)
        known.thoughts_first = min(known.thoughts_first, THOUGHTS_NEEDED) - 1


def _lacks_path(error: UpstreamRefused) -> bool:
    """Return True if the upstream has no such path, as opposed to something that the request names.

    A model, an item or an earlier response that is not found is a 404 as well; then `code` ends in
    `_not_found`, or `param` says where the request named it.
    """
    named = error.param is not None or error.code.endswith("_not_found")
    return error.status == 405 or (error.status == 404 and not named)


def lesson_of(error: UpstreamRefused, sent: Prepared, known: Lesson) -> Lesson | None:
    """Return what a refusal teaches, or None where asking again would be no use.

    `known` was applied to the request. A parameter refused by name is renamed once, then dropped;
    a 400 or 422 that names nothing drops what we added. The next request lacks what was dropped,
    so this ends. One caller's bad value teaches nothing about the model, except about token
    limits: those are the model's.
    """
    if error.status not in {400, 422, 500}:
        return None
    # A template's refusal is a 500 at llama.cpp.
    if shapes := refused_shapes(error.message, sent.body):
        return Lesson(shapes=shapes)
    if error.status == 500:
        return None
    path = error.param or ""
    refused = path.split(".")[0].split("[")[0]
    if refused in sent.body and refused not in NEEDED:
        blames_value = bool(_BLAMES_VALUE.match(error.code or ""))
        if refused in WEIGHTY and (blames_value or path != refused):
            return None
        other = RENAMED.get(refused)
        ours = refused in sent.added or refused in known.renamed.values()
        if other and not ours and other not in sent.body:
            return Lesson(renamed={refused: other})
        return Lesson(frozenset({refused}), lasting=not blames_value or refused in RENAMED)
    if error.param is None and sent.added:
        return Lesson(dropped=sent.added)
    return None
