"""What an environment has learnt about its models: who is cooling, and what each one refuses.

Lives as long as the environment and is shared by its turns; nothing in it belongs to one of them.
Knows no I/O: `race` reports what happened and asks whom to try first, `question` asks what to
leave out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from completions.dialects.dialect import Prepared
from completions.errors import CompletionsError, UpstreamRefused
from completions.observability import log, shown
from completions.settings import Candidate

STRIKES = 2
"""So many failures running, and the model is asked last …"""
COOLING_S = 30.0
"""… for so long. A `Retry-After` counts at once, for as long as it says."""
LONGEST_COOLING_S = 600.0
RECORDS_LIMIT = 64
"""Callers may name models, as many as they like: what was used longest ago is forgotten."""

RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""A field refused under the one name is tried once under the other."""
NEEDED = frozenset({"messages", "input", "model", "stream"})
WEIGHTY = frozenset({"tools", "tool_choice", "functions", "response_format", "text"})
"""Dropped only where the model does not take them at all: a mistake in one is the caller's."""
_VALUE = re.compile(r"invalid|missing|.*(above|below|too_)")
"""Error codes that blame a value, not the field (platform.openai.com/docs/guides/error-codes)."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one model does not take: fields to leave out, fields to send under another name."""

    dropped: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    lasting: bool = True
    """False: it tells of this one request, whose value was refused, and is not remembered."""

    def __add__(self, other: Lesson) -> Lesson:
        return Lesson(
            self.dropped | other.dropped,
            {**self.renamed, **other.renamed},
            self.lasting and other.lasting,
        )

    def applied(self, prepared: Prepared) -> Prepared:
        """The request without what this model refuses."""
        if not self.dropped and not self.renamed:
            return prepared
        names = {name: self.renamed.get(name, name) for name in prepared.body}
        body = {
            names[name]: value
            for name, value in prepared.body.items()
            if names[name] not in self.dropped
        }
        return Prepared(body, prepared.added & body.keys())


@dataclass(slots=True)
class _Record:
    strikes: int = 0
    cool_at: float = 0.0
    lesson: Lesson = field(default_factory=Lesson)
    lacks_responses: bool = False
    thinks_first: bool = False


class Standing:
    """The record of every candidate. Times are wall clock, so that a freeze counts."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records: dict[Candidate, _Record] = {}

    def order(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The candidates in the order to ask them: cooling ones last, else as configured."""
        now = self._clock()
        return sorted(candidates, key=lambda one: self._record(one).cool_at > now)

    def answered(self, candidate: Candidate) -> None:
        """It spoke first: earlier strikes are forgotten."""
        record = self._record(candidate)
        record.strikes, record.cool_at = 0, 0.0

    def failed(self, candidate: Candidate, error: CompletionsError | None = None) -> None:
        """It was late (no error), or it failed. Refusals of a request are nobody's failure."""
        if error is not None and not error.transient and error.status < 500:
            return
        record = self._record(candidate)
        record.strikes += 1
        wait_s = retry_after_s(error)
        if wait_s is None and record.strikes >= STRIKES:
            wait_s = COOLING_S
        if wait_s:
            record.cool_at = self._clock() + min(wait_s, LONGEST_COOLING_S)

    def lesson(self, candidate: Candidate) -> Lesson:
        """What this model is known to refuse."""
        return self._record(candidate).lesson if candidate in self._records else Lesson()

    def remember(self, candidate: Candidate, lesson: Lesson) -> None:
        """The lesson was right: with it the model answered."""
        if not lesson.lasting:
            return
        log.warning(
            "upstream.learnt",
            candidate=candidate.key,
            model=shown(candidate.model),
            dropped=sorted(lesson.dropped),
            renamed=dict(lesson.renamed),
        )
        record = self._record(candidate)
        record.lesson += lesson

    def lacks_responses(self, candidate: Candidate, error: UpstreamRefused | None = None) -> bool:
        """Whether the upstream has no `/responses`; an error is looked at and remembered."""
        record = self._record(candidate)
        if error is not None and _lacks_path(error):
            record.lacks_responses = True
            log.warning("upstream.lacks_responses", candidate=candidate.key)
        return record.lacks_responses

    def thinks_first(self, candidate: Candidate, *, found: bool = False) -> bool:
        """Whether the model's answers begin inside a `<think>` that its template opened.

        A closing tag without an opening one tells (`found`); the first such answer cannot be
        told in time.
        """
        if found:
            self._record(candidate).thinks_first = True
        return candidate in self._records and self._record(candidate).thinks_first

    def _record(self, candidate: Candidate) -> _Record:
        # Always the last one: `order` asks for the deployment's own candidates at every turn.
        known = candidate in self._records
        record = self._records[candidate] = self._records.pop(candidate) if known else _Record()
        if len(self._records) > RECORDS_LIMIT:
            del self._records[next(iter(self._records))]
        return record


def _lacks_path(error: UpstreamRefused) -> bool:
    """Whether the upstream has no such path, as opposed to a thing that the request names.

    A model, an item or an earlier response that is not found is a 404, too: then `code` ends in
    `_not_found`, or `param` says where in the request it was named.
    """
    named = error.param is not None or error.code.endswith("_not_found")
    return error.status == 405 or (error.status == 404 and not named)


def lesson_of(error: UpstreamRefused, sent: Prepared, known: Lesson) -> Lesson | None:
    """What a refusal teaches; None when asking again would be no use.

    `known` was applied to the request. A parameter refused by name is renamed once, else dropped;
    a 400 or 422 that names nothing drops what we added. What was dropped is not in the next
    request, so this ends. One caller's bad value teaches nothing about the model, except of token
    limits: those are the model's.
    """
    if error.status not in {400, 422}:
        return None
    path = error.param or ""
    refused = path.split(".")[0].split("[")[0]
    if refused in sent.body and refused not in NEEDED:
        blames_value = bool(_VALUE.match(error.code or ""))
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


def retry_after_s(error: CompletionsError | None) -> float | None:
    """The seconds that a `Retry-After` asks for; None when there is none that can be read.

    RFC 9110, section 10.2.3; OpenAI adds `retry-after-ms`. Dates are not worth their parser.
    """
    if error is None:
        return None
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(error.headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return seconds
    return None
