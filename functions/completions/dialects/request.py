"""What a request asks, as far as a turn must understand it.

The same facts whatever wire it came over; what agents may set for themselves in the extra body is
read here, as both dialects have it. Knows neither wire nor turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from completions.errors import InvalidRequest

ID_LIMIT_CHARS = 64
"""Of a `prompt_cache_key`; OpenAI's API refuses longer ones."""
PHRASES_LIMIT, PHRASE_LIMIT_CHARS = 64, 200
"""Of an agent's own buffer words: each is looked for in each message of the history."""
SILENCE = "..."
"""The user turn by which a voice platform says that nobody spoke."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that this request offers; `parameters` is its JSON Schema, as it came."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastCall:
    """A tool call in the history; `recent` when it came after the last user message."""

    name: str
    arguments: str
    recent: bool


@dataclass(frozen=True, slots=True)
class Extra:
    """`elevenlabs_extra_body`. It comes from the client: never a ground for authorisation."""

    buffer_words: tuple[str, ...] | None = None
    buffer_words_after_ms: int | None = None
    language: str | None = None
    conversation_id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request, as far as the turn must understand it. `body` is the caller's, decoded."""

    body: dict[str, Any]
    stream: bool
    model: str
    answers: int = 1
    """How many answers are wanted at once (`n`), at least 1."""
    speakable: bool = False
    """The turn may receive words of ours: streamed, single, text, no JSON response format."""
    wants_usage: bool = False
    """The caller asked for usage; in a buffered answer it always stands."""
    roles: tuple[str, ...] = ()
    """The roles of the history, in order: what a log may tell of a conversation."""
    user_spoke: bool = False
    """There is a user message, and the last one is not the silence turn `"..."`."""
    user_text: str = ""
    """The last user message, for logs that may hold what people say."""
    assistant_spoke_since: bool = False
    """Assistant text already follows the last user message."""
    after_tool_result: bool = False
    """The history ends with a tool's result."""
    assistant_texts: tuple[str, ...] = ()
    """What the assistant said so far, oldest first."""
    calls: tuple[PastCall, ...] = ()
    tools: Mapping[str, Tool] = field(default_factory=dict)
    """The offered functions by name."""
    extra: Extra = field(default_factory=Extra)

    @property
    def single(self) -> bool:
        """Whether one answer is wanted, whose tool calls can be held and checked."""
        return self.answers == 1


def check_types(body: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> None:
    """Raises InvalidRequest for the first field of a wrong type; absent and null are fine."""
    for name, allowed in types.items():
        value = body.get(name)
        if value is None or (int in allowed and isinstance(value, float) and value.is_integer()):
            continue  # JSON does not tell 1.0 from 1.
        # bool is an int in Python, never in JSON.
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            expected = " or ".join(dict.fromkeys(_JSON_NAMES[kind] for kind in allowed))
            raise InvalidRequest(f"'{name}' must be {expected}.", param=name)


_JSON_NAMES: dict[type, str] = {
    str: "a string",
    list: "a list",
    bool: "true or false",
    dict: "an object",
    int: "a number",
    float: "a number",
}


def read_extra(body: Mapping[str, Any]) -> Extra:
    """Reads `elevenlabs_extra_body`: what an agent may set for itself; other keys are ignored.

    Raises InvalidRequest that names the field.
    """
    raw = body.get("elevenlabs_extra_body")
    if raw is None:
        return Extra()
    prefix = "elevenlabs_extra_body"
    if not isinstance(raw, dict):
        raise InvalidRequest(f"'{prefix}' must be an object.", param=prefix)
    check_types(
        {f"{prefix}.{name}": value for name, value in raw.items()},
        {
            f"{prefix}.buffer_words": (list,),
            f"{prefix}.buffer_words_after_ms": (int,),
            f"{prefix}.language": (str,),
        },
    )
    words = raw.get("buffer_words")
    if words is not None and (
        len(words) > PHRASES_LIMIT
        or not all(
            isinstance(word, str) and word.strip() and len(word) <= PHRASE_LIMIT_CHARS
            for word in words
        )
    ):
        name = f"{prefix}.buffer_words"
        raise InvalidRequest(
            f"'{name}' must be a list of at most {PHRASES_LIMIT} phrases, "
            f"{PHRASE_LIMIT_CHARS} letters each.",
            param=name,
        )
    after_ms = raw.get("buffer_words_after_ms")
    if after_ms is not None and not 0 <= after_ms <= 60_000:
        name = f"{prefix}.buffer_words_after_ms"
        raise InvalidRequest(f"'{name}' must be 0 (off) to 60000 milliseconds.", param=name)
    conversation = str(raw.get("conversation_id") or raw.get("system__conversation_id") or "")
    return Extra(
        buffer_words=None if words is None else tuple(words),
        buffer_words_after_ms=None if after_ms is None else int(after_ms),
        language=raw.get("language") or None,
        # It leads logs to a call, and is a prompt_cache_key.
        conversation_id=conversation[:ID_LIMIT_CHARS] or None,
        raw=raw,
    )
