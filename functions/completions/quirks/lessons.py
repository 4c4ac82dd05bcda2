"""What a refusal teaches about a model, and how to apply that lesson to a request.

A lesson names fields and shapes. It is read from the request and the words of the refusal; `quirks`
remembers it. Knows requests and refusals, not who is asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import field, replace
from enum import Enum

from completions.dialects.dialect import Prepared
from completions.errors import BADLY_WRITTEN, UpstreamRefused
from completions.immutable import immutable
from completions.quirks.field_paths import fields_without, value_at
from completions.quirks.refused_fields import NEEDED, blames_value, refused_fields
from completions.quirks.shapes import HARMLESS, mended, refused_shapes

FAILED = 500
"""llama.cpp's status for a history that a template cannot take, some gateways' for any refusal."""
RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""A field refused under one name is tried once under the other."""
WEIGHTY = frozenset({"tools", "tool_choice", "functions", "response_format", "text"})
"""Dropped only if the model does not take them at all: a mistake inside one is the caller's."""
WITH_TOOLS = frozenset({"tool_choice", "parallel_tool_calls"})
"""Without `tools` these are refused."""
SAMPLING = frozenset(
    {
        *("temperature", "top_p", "presence_penalty", "frequency_penalty", "stop"),
        *("logprobs", "top_logprobs", "logit_bias", "parallel_tool_calls"),
    }
)
"""What OpenAI's reasoning models refuse, one field a time (platform.openai.com/docs/guides/
reasoning): a model that refuses two, `temperature` or `top_p` among them, refuses the rest."""
BOOKKEEPING = frozenset(
    {
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "user"),
        *("metadata", "service_tier"),
    }
)
"""Fields that change no answer. A model that refuses two is assumed to refuse the rest.

NOTE: not `store`: if it is left out, OpenAI's Responses API keeps the conversation.
"""
KIN_OF_SHAPES = {"enum": "names"}
"""Gemini refuses both, one after another."""
VALUE_LIMIT_CHARS = 32
"""A longer value is the caller's own, not one from a model's list."""
_NOTHING_HELPS = (
    r"(?i)context_length|content_(?:filter|policy)|context (?:length|window)"
    r"|content management policy|responsible ai|prompt is too long"
)
"""Refusals of what was said: no change of fields helps."""
_VALUE_CODES = (
    r"invalid_(?!request|parameter|argument|field)|missing|empty_|.*(above|below|too_|not_found)"
)
"""Error codes that blame a value, not the field (platform.openai.com/docs/guides/error-codes)."""


class Keep(Enum):
    """How long a lesson holds."""

    KNOWN = "known"
    """The API named what it does not take: remembered, however the turn ends."""
    IF_ANSWERED = "if answered"
    """A guess: remembered if the model answers."""
    ONCE = "once"
    """About one request's value: never remembered."""


@immutable
class Lesson:
    """What one model refuses: fields to leave out or rename, and shapes to mend."""

    dropped: frozenset[str] = frozenset()
    """Paths, see `field_paths`."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    shapes: frozenset[str] = frozenset()
    """Names of rows in `shapes`."""
    keep: Keep = Keep.KNOWN

    def __add__(self, other: Lesson) -> Lesson:
        return Lesson(
            self.dropped | other.dropped,
            {**self.renamed, **other.renamed},
            self.shapes | other.shapes,
            self.keep,
        )

    def __bool__(self) -> bool:
        return bool(self.dropped or self.renamed or self.shapes)

    def applied(self, prepared: Prepared, but: Collection[str] = ()) -> Prepared:
        """Return the request without what this model refuses, but keep the fields in `but`."""
        if not self:
            return prepared
        names = {name: self.renamed.get(name, name) for name in prepared.body if name not in but}
        body = {
            names.get(name, name): value
            for name, value in prepared.body.items()
            # A limit sent under both names is sent once.
            if names.get(name, name) == name or names[name] not in prepared.body
        }
        # Paths may name roles, which mending changes.
        body = fields_without(mended(body, self.shapes), self.dropped.difference(but))
        if "tools" not in body and "tools" in prepared.body:
            body = {name: value for name, value in body.items() if name not in WITH_TOOLS}
        return Prepared(body, prepared.added & body.keys())


def lesson_of(error: UpstreamRefused, sent: Prepared, known: Lesson) -> Lesson | None:
    """Return what a refusal teaches, or None if asking again would not help.

    `known` was applied to the request. What is refused by name is renamed once, then dropped; a
    400 or 422 that names nothing drops what we added. The next request lacks what was dropped, so
    this ends. One caller's bad value teaches nothing about the model.
    """
    if error.status not in {400, 422, FAILED} or error.code in BADLY_WRITTEN:
        return None
    if error.code.endswith("_not_found"):
        return None
    # A place may be told apart from the words: `input[0].role`, "Invalid value: 'developer'."
    shapes = refused_shapes("\n".join((*error.fields, error.message)), sent.body)
    shapes |= {KIN_OF_SHAPES[name] for name in shapes & KIN_OF_SHAPES.keys()}
    if error.status == FAILED:
        # Only explicit words count: a failing server may name anything.
        found = _refused_by_name(refused_fields((), error.message, sent.body), sent, known)
        return replace(found, shapes=shapes) if found or shapes else None
    # Words about a shape name roles, and keys that are missing.
    words = "" if shapes else error.message
    fields = refused_fields(error.fields, words, sent.body)
    if values := _unsupported_values(fields, error, sent):
        found = Lesson(values)
    elif re.match(_VALUE_CODES, error.code) or blames_value(error.message):
        light = [path for path in fields if _top(path) not in WEIGHTY]
        found = Lesson(frozenset(light), keep=Keep.ONCE)
    else:
        found = _refused_by_name(fields, sent, known)
    if shapes:
        return replace(found, shapes=shapes, keep=Keep.KNOWN)
    # A word in `param` that is no field of the request names nothing.
    named = found or fields or any(_top(path) in {*sent.body, *NEEDED} for path in error.fields)
    if not named and sent.added and not re.search(_NOTHING_HELPS, f"{error.code} {error.message}"):
        return Lesson(dropped=sent.added, keep=Keep.IF_ANSWERED)
    return found or None


def _unsupported_values(
    fields: Collection[str], error: UpstreamRefused, sent: Prepared
) -> frozenset[str]:
    """Return the fields with their values where the model has values of its own for them.

    The field is good then, and so are others of its values.
    """
    if error.code != "unsupported_value" or "default" in error.message:
        return frozenset()
    values = {path: str(value_at(sent.body, path)) for path in fields}
    return frozenset(f"{path}={v}" for path, v in values.items() if len(v) <= VALUE_LIMIT_CHARS)


def _refused_by_name(fields: Collection[str], sent: Prepared, known: Lesson) -> Lesson:
    dropped: set[str] = set()
    renamed: dict[str, str] = {}
    for path in fields:
        other = RENAMED.get(path)
        ours = path in sent.added or path in known.renamed.values()
        if other and not ours and other not in sent.body:
            renamed[path] = other
        else:
            dropped.add(path)
    related = (
        _related_fields(dropped | known.dropped, {**known.renamed, **renamed})
        if fields
        else frozenset()
    )
    return Lesson(frozenset(dropped) | related, renamed)


def _top(path: str) -> str:
    return re.split(r"[.\[=]", path, maxsplit=1)[0]


def _related_fields(dropped: Collection[str], renamed: Mapping[str, str]) -> frozenset[str]:
    """Return the fields that go together with those that a model refuses."""
    related: frozenset[str] = frozenset()
    signs = SAMPLING.intersection(dropped)
    newer = renamed.get("max_tokens") == "max_completion_tokens"
    if signs & {"temperature", "top_p"} and len(signs) + newer >= 2:
        related |= SAMPLING
    if len(BOOKKEEPING.intersection(dropped)) >= 2:
        related |= BOOKKEEPING
    return related


def bare(sent: Prepared, but: Collection[str]) -> Lesson:
    """Return the lesson that drops every dispensable field of a request, except those in `but`.

    For the last request of a turn, after others were refused: it also mends every shape that some
    API refuses.
    """
    core = {*NEEDED, *WEIGHTY, *RENAMED, "max_output_tokens", "store", *but}
    return Lesson(frozenset(sent.body.keys() - core), shapes=HARMLESS, keep=Keep.ONCE)
