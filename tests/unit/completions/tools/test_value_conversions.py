"""A JSON value as another type, with the same meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.tools.value_conversions import conversions, is_of, normalised

TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")


@pytest.mark.parametrize("name", ["end_call", "End-Call", "endCall", " END CALL "])
def test_case_and_punctuation_of_names_are_ignored(name: str) -> None:
    """Models respell the names of tools and properties."""
    assert normalised(name) == "endcall"


@pytest.mark.parametrize(
    ("value", "types"),
    [
        (None, {"null"}),
        (True, {"boolean"}),
        (1, {"integer", "number"}),
        (1.0, {"integer", "number"}),
        (1.5, {"number"}),
        ("1", {"string"}),
        ([], {"array"}),
        ({}, {"object"}),
    ],
)
def test_a_value_has_the_types_of_json_schema(value: Any, types: set[str]) -> None:
    """A number without a fraction is an integer, and true is no number."""
    assert {one for one in TYPES if is_of(value, [one])} == types


@pytest.mark.parametrize(
    ("value", "kind", "meant"),
    [
        ("4", "integer", 4),
        (" 4 ", "integer", 4),
        ("4.0", "integer", 4),
        ("4.5", "number", 4.5),
        ("yes", "boolean", True),
        ("False", "boolean", False),
        ("0", "boolean", False),
        (4, "string", "4"),
        (True, "string", "true"),
        ("none", "null", None),
        ('{"a": 1}', "object", {"a": 1}),
        ("[1]", "array", [1]),
        ("x", "array", ["x"]),
        (["x"], "string", "x"),
    ],
)
def test_a_value_is_converted_to_its_type(value: Any, kind: str, meant: Any) -> None:
    """The model may have given it any type."""
    assert json.dumps(meant) in map(json.dumps, conversions(value, [kind]))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("four", "integer"),
        ("4.5", "integer"),
        ("1,000", "number"),
        ("on", "boolean"),
        (2, "boolean"),
        (None, "string"),
        (4, "null"),
        ([1, 2], "string"),
    ],
)
def test_nothing_is_guessed(value: Any, kind: str) -> None:
    """A value that does not mean one of this type is left to the model."""
    assert [one for one in conversions(value, [kind]) if is_of(one, [kind])] == []


@given(st.text() | st.integers() | st.floats() | st.booleans(), st.sampled_from(TYPES))
def test_nothing_raises(value: Any, kind: str) -> None:
    """Any value may be offered for any type."""
    assert all(one is not value for one in conversions(value, [kind]) if is_of(one, [kind]))
