"""The seam between a turn and a wire dialect: what a request asks, what a frame says.

`chat` and `responses` read requests and frames into these facts and write frames from them.
Knows neither wire format; the turn knows nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import to_json

from completions.errors import (
    CompletionsError,
    InvalidRequest,
    UpstreamRefused,
    UpstreamUnavailable,
)
from completions.sse import Frame

TOKEN_LIMIT = 16_384
"""A voice answer is never longer; larger limits are refused by models that allow no more."""
ID_LIMIT_CHARS = 64
"""Of a `prompt_cache_key`; OpenAI's API refuses longer ones."""
PHRASES_LIMIT, PHRASE_LIMIT_CHARS = 64, 200
"""Of an agent's own buffer words: each is looked for in each message of the history."""
SILENCE = "..."
"""The user turn by which a voice platform says that nobody spoke."""


# What a frame says.


@dataclass(frozen=True, slots=True)
class Text:
    """Words to be spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Words that must not be spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines, in words of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of tool call number `index`: the first one names it, all add to `arguments`."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    odd: bool = False
    """Not as the protocol has it (arguments as an object), so not to be relayed."""


@dataclass(frozen=True, slots=True)
class Other:
    """An answer of a kind that is neither spoken nor judged here: it is relayed as it came."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The model's own end, in Chat Completions' words: `stop`, `length`, `tool_calls`, …."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that were used, in the shape of the dialect that was read."""

    usage: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The upstream says in mid-stream that it failed."""

    error: CompletionsError


@dataclass(frozen=True, slots=True)
class Done:
    """The terminator: nothing follows."""


Delta = Text | Reasoning | Refusal | CallPart | Other | Finish | Usage | Failure | Done


@dataclass(slots=True)
class Said:
    """A frame and what it says. `frame` is None where nothing came over a wire.

    `plain` says that the deltas are what the frame holds, so that its bytes may be relayed;
    a filter that changes the deltas clears it.
    """

    frame: Frame | None
    deltas: tuple[Delta, ...]
    plain: bool = True
    source: int = 0
    """Which upstream request of the turn it came from: each has an identity of its own."""
    alive: bool = True
    """False for comments and keep-alives, which prove nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call; `arguments` is one JSON string."""

    id: str
    name: str
    arguments: str


# What a request asks.


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
class Asked:
    """A request, as far as the turn must understand it. `body` is the caller's, decoded."""

    body: dict[str, Any]
    stream: bool
    model: str
    single: bool = True
    """One answer is wanted (`n` ≤ 1): its tool calls can be held and checked."""
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A clean request for an upstream, and the names of the fields that we added to it."""

    body: dict[str, Any]
    added: frozenset[str] = frozenset()


class Writer(Protocol):
    """Writes one answer. Keeps one id, one `created`, one model; every method returns bytes.

    The first method called decides whose identity the stream has: `relay` adopts the upstream's,
    the others make one. Later frames are re-written to match, and only then.
    """

    def relay(self, said: Said) -> bytes:
        """The upstream's frame: its own bytes where nothing has to change.

        A finish or usage in it is kept for `end`, which writes it or a better one; a terminator
        is dropped. The frames of a tool call come here once the call is whole and valid.
        """
        ...

    def text(self, text: str) -> bytes:
        """Words to be spoken."""
        ...

    def aside(self, text: str) -> bytes:
        """Buffer words: spoken, and no part of the answer that follows."""
        ...

    def reasoning(self, text: str) -> bytes:
        """Words that are shown and never spoken."""
        ...

    def call(self, call: Call) -> bytes:
        """A whole tool call in one delta, numbered after the ones already written."""
        ...

    def end(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        """Everything that ends the stream, exactly once: finish, usage if wanted, terminator."""
        ...

    def failure(self, error: CompletionsError) -> bytes:
        """An error frame that makes client SDKs raise, and the terminator."""
        ...


class Dialect(Protocol):
    """One wire format. A module or an object; stateless."""

    @property
    def path(self) -> str:
        """The upstream's path below its base URL, `/chat/completions`."""
        ...

    def ask(self, body: dict[str, Any]) -> Asked:
        """Reads a request. Raises InvalidRequest that names the field."""
        ...

    def prepare(
        self,
        asked: Asked,
        *,
        model: str,
        extra_body: Mapping[str, Any],
        clean: Callable[[str], str],
        max_tokens: int = 0,
    ) -> Prepared:
        """The clean request for an upstream: nothing that strict servers refuse.

        `clean` is applied to every assistant text of the history. Fields of `extra_body` win.
        `max_tokens` bounds the answer, and is its limit where the caller sets none; 0 does neither.
        """
        ...

    def reask(self, body: dict[str, Any], said: str, note: str) -> dict[str, Any]:
        """The same request continued: the assistant said `said` (may be empty), then `note`."""
        ...

    def reader(self) -> Callable[[Frame], tuple[Delta, ...]]:
        """For one answer: a function that tells what each of its frames says, in order.

        Nothing for comments and keep-alives. Never raises. A frame without `raw` is a whole JSON
        answer.
        """
        ...

    def writer(self, asked: Asked) -> Writer:
        """For one streamed answer."""
        ...

    def whole(
        self,
        asked: Asked,
        frame: Frame | None,
        *,
        text: str,
        reasoning: str,
        calls: Sequence[Call],
        finish: str,
        usage: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One buffered JSON answer: the upstream's (`frame`) with its words and calls replaced.

        Without a frame it is made up from nothing but `usage`, in whatever API's shape.
        """
        ...


def safety_identifier(user: str) -> str:
    """OpenAI's `safety_identifier` for a platform's `user_id`: stable, and tells nothing."""
    return hashlib.sha256(user.encode()).hexdigest()[:32]


def cache_key(*parts: Any) -> str:
    """A `prompt_cache_key` for requests that share these parts (system prompt, tools)."""
    return hashlib.sha256(to_json(parts)).hexdigest()[:32]


def upstream_failure(error: Any) -> CompletionsError:
    """OpenAI's error object, found in a frame, as an error of ours with the best status."""
    if not isinstance(error, dict):
        failure = UpstreamUnavailable(f"The upstream failed in mid-answer: {error}")
        failure.quotes = True
        return failure
    code = error.get("code")
    status = _STATUS_OF_CODE.get(str(code), 502)
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    return UpstreamRefused(
        str(error.get("message") or "The upstream failed in mid-answer."),
        status=status,
        error_type=str(error["type"]) if error.get("type") else None,
        code=str(code) if code else None,
        param=str(error["param"]) if error.get("param") else None,
    )


_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
}


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
