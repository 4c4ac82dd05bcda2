"""What the deployment decides: one frozen object, read once from the environment.

A setting `buffer_words_after_ms` is the variable `COMPLETIONS_BUFFER_WORDS_AFTER_MS` and, where
it can be chosen at deployment, the template's parameter `BufferWordsAfterMs`; a test holds the
three spellings together. Knows no secrets, only where they lie.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "COMPLETIONS_"
BODY_LIMIT_BYTES = 6 * 1024 * 1024
"""Lambda's own limit for a request (docs.aws.amazon.com, "Lambda quotas")."""


class SettingsError(ValueError):
    """A variable holds what it must not; the message names it and says what is expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The deployment's choices. Durations are milliseconds (`_ms`) or seconds (`_s`)."""

    caller_key_secret: str = ""
    """ARN or name of the secret `{"key": …}` that callers must show."""
    upstream_key_secret: str = ""
    """ARN or name of the secret `{"upstream": …, "fallback": …}`."""
    key_ttl_s: int = 300
    """How long a key is used before it is read again."""
    upstream_base_url: str = "https://api.openai.com/v1"
    upstream_model: str = ""
    """Replaces the caller's `model` where set."""
    upstream_extra_body: dict[str, Any] = field(default_factory=dict)
    """Added to every request to the upstream."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Reads `COMPLETIONS_…`; an unset or empty variable means the default.

        Raises SettingsError that names the variable.
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
    if kind.startswith("dict"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise SettingsError(f'{variable} must be a JSON object like {{"a": 1}}, not {text!r}')
        return value
    if variable.endswith("_BASE_URL"):
        if not text.startswith(("http://", "https://")):
            raise SettingsError(f"{variable} must start with https:// (or http://), not {text!r}")
        return text.rstrip("/")
    return text
