"""What a request asks, as far as a turn needs to know.

The same facts for every wire format, and the reader of `elevenlabs_extra_body`, which every
format may carry. Knows neither the formats nor the turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from completions.errors import InvalidRequest
from completions.immutable import immutable

ID_LIMIT_CHARS = 64
"""The longest `prompt_cache_key` that OpenAI's API takes."""
PHRASES_LIMIT, PHRASE_LIMIT_CHARS = 64, 200
"""The most buffer words that an agent may set: each is searched for in every message."""
AFTER_LIMIT_MS = 60_000
"""The longest wait for buffer words that a caller may choose."""
SILENCE = "..."
"""The user message by which a voice platform reports that nobody spoke."""


@immutable
class Tool:
    """A function that the request offers; `parameters` is its JSON Schema as received."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@immutable
class PastCall:
    """A tool call in the history; `recent` if it follows the last user message."""

    name: str
    arguments: str
    recent: bool


@immutable
class Extra:
    """`elevenlabs_extra_body`. The client writes it: never authorise anybody by it."""

    buffer_words: tuple[str, ...] | None = None
    buffer_words_after_ms: int | None = None
    language: str | None = None
    conversation_id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@immutable
class ParsedRequest:
    """A request, as far as a turn needs to know. `body` is the caller's decoded JSON."""

    body: dict[str, Any]
    stream: bool
    model: str
    answers: int = 1
    """How many answers the caller wants at once (`n`), at least 1."""
    speakable: bool = False
    """True if we may add our own words: one streamed answer, as text, not in a JSON format."""
    plain: bool = True
    """True if the answer is wanted as text, not in a JSON format."""
    wants_usage: bool = False
    """True if the caller wants usage in a stream; buffered answers always have it."""
    chained: bool = False
    """True if the upstream holds the history, or a part of it."""
    by_id: bool = False
    """True if items are named by ids that only the upstream that made them may know."""
    roles: tuple[str, ...] = ()
    """The roles of the history, in order: all that a log may say about a conversation."""
    user_spoke: bool = False
    """True if there is a user message, and the last one is not the `"..."` of silence."""
    user_text: str = ""
    """The last user message, for logs that may hold what people say."""
    assistant_spoke_since: bool = False
    """True if the history has assistant text after the last user message."""
    after_tool_result: bool = False
    """True if the history ends with a tool's result."""
    assistant_texts: tuple[str, ...] = ()
    """The assistant's texts in the history, oldest first."""
    calls: tuple[PastCall, ...] = ()
    tools: Mapping[str, Tool] = field(default_factory=dict)
    """The offered functions by name."""
    extra: Extra = field(default_factory=Extra)
    session: str = ""
    """The id that the caller wants back in each chunk of chat completions (Hume's EVI)."""
    call_id: str = ""
    """The id of the call, from wherever its platform puts it; for agents."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The caller's headers that may be shown to agents."""

    @property
    def user_was_silent(self) -> bool:
        """True if the last user message is the `"..."` of silence."""
        return self.user_text.strip() == SILENCE

    @property
    def offered(self) -> Mapping[str, Tool]:
        """The functions that the model may call: none if `tool_choice` forbids it."""
        choice = self.body.get("tool_choice")
        if isinstance(choice, Mapping):
            choice = choice.get("mode") or choice.get("type")
        return {} if choice == "none" else self.tools

    @property
    def single(self) -> bool:
        """True if one answer is wanted: only then are tool calls held back and checked."""
        return self.answers == 1


def check_types(body: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> None:
    """Check the types of the fields of `body`; absent and null fields pass.

    Raises:
        InvalidRequest: A field has a wrong type; the error names the first one.
    """
    for name, allowed in types.items():
        value = body.get(name)
        if value is None or (int in allowed and isinstance(value, float) and value.is_integer()):
            continue  # In JSON 1.0 and 1 are the same number.
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
    """Read `elevenlabs_extra_body`: an agent's own settings. Other keys are kept in `raw`.

    Raises:
        InvalidRequest: A field has a wrong type or is out of bounds; the error names it.
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
    if after_ms is not None and not 0 <= after_ms <= AFTER_LIMIT_MS:
        name = f"{prefix}.buffer_words_after_ms"
        raise InvalidRequest(f"'{name}' must be 0 (off) to 60000 milliseconds.", param=name)
    conversation = str(raw.get("conversation_id") or raw.get("system__conversation_id") or "")
    return Extra(
        buffer_words=None if words is None else tuple(words),
        buffer_words_after_ms=None if after_ms is None else int(after_ms),
        language=raw.get("language") or None,
        # It serves as the prompt_cache_key; logs take the call's id from web/conversation.py.
        conversation_id=conversation[:ID_LIMIT_CHARS] or None,
        raw=raw,
    )
