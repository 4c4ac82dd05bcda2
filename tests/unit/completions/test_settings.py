"""Settings: one object from the environment, or an error that names the variable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from completions.settings import BODY_LIMIT_BYTES, PREFIX, Settings, SettingsError


def _read(**variables: str) -> Settings:
    return Settings.from_environment({PREFIX + name: value for name, value in variables.items()})


def test_an_empty_environment_gives_the_defaults() -> None:
    """Empty variables do so, too."""
    empty = {PREFIX + each.name.upper(): " " for each in dataclasses.fields(Settings)}
    assert Settings.from_environment({}) == Settings.from_environment(empty) == Settings()


def test_each_setting_can_be_set_to_its_default() -> None:
    """Its variable can express every value, the default included."""
    for setting in dataclasses.fields(Settings):
        default = getattr(Settings(), setting.name)
        said = default if isinstance(default, str) else json.dumps(default)
        if isinstance(default, bool):
            said = "On" if default else "Off"
        assert getattr(_read(**{setting.name.upper(): said}), setting.name) == default


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CALLER_KEY_SECRET", " arn:aws:x ", "arn:aws:x"),
        ("KEY_TTL_S", "0", 0),
        ("KEY_TTL_S", " 60 ", 60),
        ("UPSTREAM_BASE_URL", "https://llm.example/v1/", "https://llm.example/v1"),
        ("UPSTREAM_BASE_URL", "http://127.0.0.1:1/a/b//", "http://127.0.0.1:1/a/b"),
        ("UPSTREAM_BASE_URL", "https://gateway.example/@me", "https://gateway.example/@me"),
        ("UPSTREAM_MODEL", "gpt-x", "gpt-x"),
        ("LOG_CONTENT", "On", True),
        ("LOG_CONTENT", "Off", False),
        ("UPSTREAM_EXTRA_BODY", '{"reasoning_effort": "low"}', {"reasoning_effort": "low"}),
    ],
)
def test_variables_are_read(variable: str, text: str, expected: Any) -> None:
    """They are texts, whole numbers, URLs and JSON objects, with spaces around them."""
    assert getattr(_read(**{variable: text}), variable.lower()) == expected


@pytest.mark.parametrize(
    ("variable", "text", "hint"),
    [
        ("KEY_TTL_S", "-1", "0 or more"),
        ("KEY_TTL_S", "5m", "whole number"),
        ("KEY_TTL_S", "1.5", "whole number"),
        ("UPSTREAM_BASE_URL", "api.openai.com/v1", "https://"),
        ("UPSTREAM_BASE_URL", "ftp://x", "https://"),
        ("ON_FAILURE", "shout", "speak, error"),
        ("LOG_CONTENT", "yes", "On, Off"),
    ],
)
def test_a_wrong_value_is_reported(variable: str, text: str, hint: str) -> None:
    """The error has the variable, its value and what is expected."""
    with pytest.raises(SettingsError) as caught:
        _read(**{variable: text})
    message = str(caught.value)
    assert PREFIX + variable in message
    assert text in message
    assert hint in message


@pytest.mark.parametrize(
    ("variable", "text", "hint"),
    [
        ("UPSTREAM_EXTRA_BODY", '["sk-mine"]', "JSON object"),
        ("UPSTREAM_EXTRA_BODY", '{"api_key": "sk-mine"', "JSON object"),
        ("FALLBACK_EXTRA_BODY", "api_key=sk-mine", "JSON object"),
        ("BUFFER_WORDS", '{"sk-mine": 1}', "JSON list"),
        ("BUFFER_WORDS", "[1]", "JSON list"),
        (
            "UPSTREAM_BASE_URL",
            "https://me:sk-mine@llm.example/v1",
            "must not contain a user or password",
        ),
        (
            "UPSTREAM_BASE_URL",
            "https://llm.example/openai?api-version=1",
            "must not contain ? or #",
        ),
        ("FALLBACK_BASE_URL", "https://llm.example/v1#me", "must not contain ? or #"),
        ("FALLBACK_BASE_URL", "http://sk-mine@llm.example", "must not contain a user or password"),
        ("FALLBACK_BASE_URL", "me:sk-mine@llm.example/v1", "must not contain a user or password"),
    ],
)
def test_a_value_that_may_be_a_key_is_not_repeated(variable: str, text: str, hint: str) -> None:
    """The error and its causes name the variable, but not its value."""
    with pytest.raises(SettingsError) as caught:
        _read(**{variable: text})
    assert PREFIX + variable in str(caught.value)
    assert hint in str(caught.value)
    assert text not in str(caught.value)
    assert caught.value.__context__ is None


def test_other_variables_are_ignored() -> None:
    """Only the known ones are read, and no setting can be changed later."""
    environ: Mapping[str, str] = {"UPSTREAM_MODEL": "x", "COMPLETIONS_OF_NO_ONE": "y"}
    settings = Settings.from_environment(environ)
    assert settings == Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.upstream_model = "other"  # type: ignore[misc] # which is the point


def test_the_body_limit_is_lambdas() -> None:
    """It is 6 MB, as AWS counts them."""
    assert BODY_LIMIT_BYTES == 6 * 1024 * 1024
