"""Objects that do not fit their schema: respelt if the meaning is clear, else left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.tools.coercion import coerced
from completions.tools.schemas import Schema


def of(**properties: Any) -> dict[str, Any]:
    """A schema of an object that requires all its properties."""
    return {"type": "object", "properties": properties, "required": [*properties]}


ENUM = {"enum": ["en", "de", "pt-br"]}
OPTIONAL = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
STRICT = {"type": "object", "properties": {"name": {}, "agent_number": {}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        (of(a={"type": "integer"}), {"a": "0"}, {"a": 0}),
        (of(a={"type": "integer"}), {"a": " -3 "}, {"a": -3}),
        (of(a={"type": "integer"}), {"a": "2.0"}, {"a": 2}),
        (of(a={"type": "integer"}), {"a": [2]}, {"a": 2}),
        (of(a={"type": "number"}), {"a": "2.5"}, {"a": 2.5}),
        (of(a={"type": "number"}), {"a": "1e3"}, {"a": 1000.0}),
        (of(a={"type": "boolean"}), {"a": "True"}, {"a": True}),
        (of(a={"type": "boolean"}), {"a": "false"}, {"a": False}),
        (of(a={"type": "boolean"}), {"a": 1}, {"a": True}),
        (of(a={"type": "boolean"}), {"a": "No"}, {"a": False}),
        (of(a={"type": "string"}), {"a": 2}, {"a": "2"}),
        (of(a={"type": "string"}), {"a": True}, {"a": "true"}),
        (of(a={"type": "null"}), {"a": "None"}, {"a": None}),
        (of(a={"type": ["integer", "null"]}), {"a": "1"}, {"a": 1}),
        (of(a=OPTIONAL), {"a": "1"}, {"a": 1}),
        (of(a=OPTIONAL), {"a": ""}, {"a": None}),
        (of(a={"type": "array", "items": {"type": "string"}}), {"a": "x"}, {"a": ["x"]}),
        (of(a={"type": "array"}), {"a": '["x", 1,]'}, {"a": ["x", 1]}),
        (of(a=of(b={"type": "string"})), {"a": '{"b": 1}'}, {"a": {"b": "1"}}),
        (of(a={"items": {"type": "integer"}}), {"a": ["1", 2, "3"]}, {"a": [1, 2, 3]}),
        (of(a=ENUM), {"a": "DE"}, {"a": "de"}),
        (of(a=ENUM), {"a": " pt_BR "}, {"a": "pt-br"}),
        (of(a={"enum": ["+15550100"]}), {"a": "+1 (555) 01-00"}, {"a": "+15550100"}),
        (of(a={"const": "Yes"}), {"a": "yes"}, {"a": "Yes"}),
        (of(a={"enum": [1, 2]}), {"a": "2"}, {"a": 2}),
        (of(a={"pattern": "^[0-9]+$"}), {"a": "12\n"}, {"a": "12"}),
        ({"properties": {"a": {"type": "string"}}}, {"a": None}, {}),
        ({"properties": {"a": {"type": "integer"}}}, {"a": ""}, {}),
        ({"properties": {"a": ENUM}}, {"a": ""}, {}),
        (of(agent_number={"type": "integer"}), {"agentNumber": "1"}, {"agent_number": 1}),
        (of(a={"default": 7}), {}, {"a": 7}),
        (of(a={"const": 7}), {}, {"a": 7}),
        (
            {**STRICT, "additionalProperties": False},
            {"Name": "x", "AgentNumber": 1, "z": 2},
            {"name": "x", "agent_number": 1},
        ),
        (
            {"$ref": "#/$defs/x", "$defs": {"x": of(a={"type": "integer"})}},
            {"a": "1"},
            {"a": 1},
        ),
    ],
)
def test_a_misspelt_object_is_coerced(
    schema: dict[str, Any], value: dict[str, Any], fits: dict[str, Any]
) -> None:
    """Values are respelt to fit the schema, and the original object is not modified."""
    before = repr(value)
    assert repr(coerced(value, Schema(schema))) == repr(fits)
    assert repr(value) == before


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (of(a={"type": "integer"}), {"a": "one"}),
        (of(a={"type": "integer"}), {"a": "1.5"}),
        (of(a={"type": "integer"}), {"a": None}),
        (of(a={"type": "integer"}), {}),
        (of(a={"type": "string"}), {"a": {"b": 1}}),
        (of(a={"type": "string"}), {"a": None}),
        (of(a={"type": "boolean"}), {"a": 2}),
        (of(a=ENUM), {"a": "fr"}),
        (of(a={"enum": ["*", "#"]}), {"a": "+"}),
        (of(a={"enum": ["1", "2"]}), {"a": "-1"}),
        (of(a={"type": "number"}), {"a": "inf"}),
        (of(a={"type": "number"}), {"a": "1e999"}),
        (of(a={"type": "number"}), {"a": "1e-999"}),
        (of(a={"type": "number"}), {"a": "12345678901234567890.5"}),
        (of(a={"type": "string"}), {"a": 12345678901234567890.5}),
        (of(name={}), {"Name": "x", "NAME": "y"}),
        (STRICT | {"additionalProperties": False}, {"name": "x", "Name": "y"}),
        (STRICT | {"additionalProperties": False}, {"Name": "x", "NAME": "y"}),
        (of(a={"minimum": 3}), {"a": 1}),
        (of(a={"items": {"type": "integer"}}), {"a": ["1"] * 1000}),
        (of(a={"const": "x"}), {"a": "y"}),
    ],
)
def test_nothing_is_invented(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """A value that cannot be respelt to fit is not replaced."""
    assert coerced(value, Schema(schema)) is None


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "number", "boolean", "null", "object")]
        + [{"type": "array"}, {"enum": ["a", 1, None]}, {"const": "b"}, {"minLength": 2}, {}, True]
        + [{"$ref": "#"}, {"type": None}, {"pattern": "^a+$"}, {"required": ["a"]}, {"type": "x"}]
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("ab"), inner).map(
            lambda properties: {"type": "object", "properties": properties}
        ),
        st.dictionaries(st.sampled_from("ab"), inner).map(lambda p: {**of(**p)}),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"oneOf": branches}),
        inner.map(lambda schema: {"items": schema}),
        inner.map(lambda schema: {"additionalProperties": schema}),
        inner.map(lambda schema: {"not": schema}),
    ),
    max_leaves=6,
).filter(lambda schema: isinstance(schema, dict))
VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "A", "c", "\ud83d"]),
    st.recursive(
        st.sampled_from(["", "0", "a", " B", "true", "null", '{"a": "1"}', "[1]", 0, 1, 2.5, None])
        | st.booleans()
        | st.just("\ud83d"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
        max_leaves=4,
    ),
)


@given(SCHEMAS, VALUES)
def test_a_coerced_object_fits(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """No object and schema raise, and whatever is coerced fits."""
    checked = Schema(schema)
    fits = coerced(value, checked)
    assert fits is None or checked.violations(fits) == []
    if not checked.violations(value):
        assert fits is value
