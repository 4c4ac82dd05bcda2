"""What the deployment decides: one frozen object, read once from the environment.

The setting `buffer_words_after_ms` is the variable `COMPLETIONS_BUFFER_WORDS_AFTER_MS` and, where
it can be chosen at deployment, the template's parameter `BufferWordsAfterMs`; a test keeps the
three spellings together. Knows no secrets, only where they are stored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from completions.immutable import immutable

PREFIX = "COMPLETIONS_"
ON_FAILURE = ("speak", "error")
SWITCH = {"On": True, "Off": False}
"""How yes and no are written: as in CloudFormation's own SnapStart parameter."""
BODY_LIMIT_BYTES = 6 * 1024 * 1024
"""Lambda's limit for a request (docs.aws.amazon.com, "Lambda quotas")."""


class SettingsError(ValueError):
    """A variable has a wrong value; the message names the variable and says what is expected.

    The message goes to the log, so it repeats short values only: neither JSON, which may hold a
    provider's key, nor a URL with a password.
    """


@immutable
class Candidate:
    """A model at an upstream. `key` names the field of the upstream secret that holds its key."""

    key: str
    base_url: str
    model: str = ""
    """Empty: the model that the caller names."""
    extra_body: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    max_tokens: int = 0
    """Upper bound of an answer, and its limit if the caller sets none; 0 does neither."""


@dataclass(frozen=True)
class Settings:
    """The deployment's choices. Durations are milliseconds (`_ms`) or seconds (`_s`)."""

    caller_key_secret: str = ""
    """ARN or name of the secret `{"key": …}` that callers must send."""
    upstream_key_secret: str = ""
    """ARN or name of the secret `{"upstream": …, "fallback": …}`."""
    key_ttl_s: int = 300
    """How long a key is used before it is read again."""
    upstream_base_url: str = "https://api.openai.com/v1"
    upstream_model: str = ""
    """Replaces the caller's `model` if set."""
    upstream_extra_body: dict[str, Any] = field(default_factory=dict)
    """Fields added to every request to the upstream, if its provider needs them."""
    allowed_models: tuple[str, ...] = ()
    """The models that a caller may name, as a JSON list or with commas; empty: any."""
    max_tokens: int = 0
    """Upper bound of every answer, sent also where the caller sets none; 0 leaves it to callers."""
    allowed_origins: tuple[str, ...] = ()
    """The origins whose pages may ask from a browser (CORS), written as the models are."""
    fallback_base_url: str = ""
    """Empty: no fallback, the same model is asked again. Its key is in the upstream secret."""
    fallback_model: str = ""
    fallback_extra_body: dict[str, Any] = field(default_factory=dict)
    buffer_words_after_ms: int = 1500
    """Silence after which buffer words are spoken. Here and in the other timers 0 means never."""
    buffer_words: tuple[str, ...] = ()
    """A JSON list that replaces the built-in phrases."""
    language: str = "en"
    """The language of our own words where a call does not name one."""
    hedge_after_ms: int = 0
    """Wait for an answer to begin, after which the next candidate is asked as well."""
    first_token_timeout_ms: int = 3000
    """The same wait, after which the late candidate also counts as failing."""
    reasoning_timeout_ms: int = 8000
    """The same for a candidate that streams reasoning."""
    turn_budget_ms: int = 12_000
    """Longest wait for a model's first audible word."""
    tool_turn_budget_ms: int = 8000
    """The same in a turn that answers a tool's result."""
    stall_timeout_ms: int = 4000
    """Silence in mid-answer after which the answer counts as cut."""
    turn_limit_ms: int = 120_000
    """Longest turn, to its last byte; on Lambda the function's own time-out may end it earlier."""
    timeout_s: int = 0
    """How long a request may run where no Lambda context says so, like TimeoutS; 0: unknown."""
    on_failure: str = "speak"
    """`speak`: the caller hears a sentence; `error`: the client sees the status."""
    responder: str = ""
    """`package.module:function` of an agent that answers in the model's place."""
    agent_request_limit: int = 8
    """Requests to models that an agent may make in one turn, hedges and retries included."""
    log_content: bool = False
    """True if the log may hold what people say."""

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The models to ask, the preferred one first."""
        primary = Candidate(
            "upstream",
            self.upstream_base_url,
            self.upstream_model,
            self.upstream_extra_body,
            self.max_tokens,
        )
        if not self.fallback_base_url:
            return (primary,)
        fallback = Candidate(
            "fallback",
            self.fallback_base_url,
            self.fallback_model,
            self.fallback_extra_body,
            self.max_tokens,
        )
        return (primary, fallback)

    def allows(self, model: str) -> bool:
        """Return True if a caller may name this model.

        If every upstream has its own model, any name is allowed, because it is not used.
        """
        if not self.allowed_models or model in self.allowed_models:
            return True
        return all(candidate.model for candidate in self.candidates)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the `COMPLETIONS_…` variables; an unset or empty one means the default.

        Raises:
            SettingsError: A variable has a wrong value.
        """
        values: dict[str, Any] = {}
        for setting in dataclasses.fields(cls):
            variable = PREFIX + setting.name.upper()
            text = environ.get(variable, "").strip()
            if text:
                values[setting.name] = _parse(variable, text, str(setting.type))
        return cls(**values)


def _parse(variable: str, text: str, kind: str) -> Any:
    if kind == "int":
        try:
            number = int(text)
        except ValueError:
            number = -1
        if number < 0:
            raise SettingsError(f"{variable} must be a whole number of 0 or more, not {text!r}")
        return number
    if kind == "bool":
        if text not in SWITCH:
            raise SettingsError(f"{variable} must be one of {', '.join(SWITCH)}, not {text!r}")
        return SWITCH[text]
    if kind.startswith("dict"):
        value = _json(text)
        if not isinstance(value, dict):
            raise SettingsError(f'{variable} must be a JSON object like {{"a": 1}}')
        return value
    if kind.startswith("tuple"):
        words = _json(text)
        if variable.startswith(PREFIX + "ALLOWED_") and not text.startswith("["):
            words = [name.strip() for name in text.split(",") if name.strip()]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise SettingsError(f'{variable} must be a JSON list like ["One moment"]')
        return tuple(words)
    if variable == PREFIX + "ON_FAILURE" and text not in ON_FAILURE:
        raise SettingsError(f"{variable} must be one of {', '.join(ON_FAILURE)}, not {text!r}")
    if variable.endswith("_BASE_URL"):
        if "@" in text.rpartition("://")[2].partition("/")[0]:
            # It would be readable in the stack's parameters, and sent along with the secret's key.
            raise SettingsError(
                f"{variable} must not contain a user or password: "
                "the key belongs in the upstream's secret"
            )
        if not text.startswith(("http://", "https://")):
            raise SettingsError(f"{variable} must start with https:// (or http://), not {text!r}")
        if "?" in text or "#" in text:
            raise SettingsError(f"{variable} must not contain ? or #: API paths are appended to it")
        return text.rstrip("/")
    return text


def _json(text: str) -> Any:
    """Return the decoded value, None if it is no JSON: the decoder's error would hold the text."""
    try:
        return json.loads(text)
    except ValueError:
        return None
