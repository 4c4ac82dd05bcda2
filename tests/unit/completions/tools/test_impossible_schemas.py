"""Schemas that nothing can fit are repaired; all others stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.tools.impossible_schemas import make_satisfiable
from completions.tools.schemas import Schema


def of(**properties: Any) -> dict[str, Any]:
    """A schema of an object that requires all its properties."""
    return {"type": "object", "properties": properties, "required": [*properties]}


PEOPLE = {"people": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "repaired"),
    [
        (
            {"type": "object", "properties": PEOPLE, "required": ["people", "gone"]},
            {"type": "object", "properties": PEOPLE, "required": ["people"]},
        ),
        (
            of(table={"properties": {}, "required": ["gone"]}),
            of(table={"properties": {}, "required": []}),
        ),
        (
            {"type": "integer", "enum": ["2", "4"]},
            {"type": "integer", "enum": [2, 4]},
        ),
        ({"type": "string", "enum": [2, 4]}, {"type": "string", "enum": ["2", "4"]}),
        ({"type": "integer", "enum": ["2", 2, 4]}, {"type": "integer", "enum": [2, 4]}),
        ({"type": "boolean", "enum": ["yes", "no"]}, {"type": "boolean", "enum": [True, False]}),
        ({"type": "number", "const": "1.5"}, {"type": "number", "enum": [1.5]}),
        ({"type": "integer", "enum": ["two", "four"]}, {"enum": ["two", "four"]}),
        ({"type": ["integer", "null"], "enum": ["2"]}, {"type": ["integer", "null"], "enum": [2]}),
        ({"type": "integer", "enum": None, "default": None}, {"type": "integer", "default": None}),
    ],
)
def test_a_mistake_is_repaired(schema: dict[str, Any], repaired: dict[str, Any]) -> None:
    """The same holds inside a property."""
    assert make_satisfiable(schema) == repaired
    assert make_satisfiable(of(a=schema)) == of(a=repaired)
    assert make_satisfiable(repaired) == repaired


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["a"]},
        {"type": "object", "required": ["a"], "additionalProperties": {"type": "string"}},
        {"properties": PEOPLE, "required": ["a"], "additionalProperties": {"type": "string"}},
        {"properties": PEOPLE, "required": ["a"], "patternProperties": {"^a": {}}},
        {"properties": PEOPLE, "required": ["a"], "$ref": "#/$defs/b", "$defs": {"b": of(a={})}},
        {"properties": PEOPLE, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {**of(kind={}, a={}), "oneOf": [{"properties": {"kind": {}}, "required": ["a"]}]},
        {**of(kind={}, a={}), "anyOf": [{"properties": {"kind": {}}, "required": ["a"]}]},
        {**of(a={}), "not": {"properties": {"a": {"type": "integer", "enum": ["2"]}}}},
        {"oneOf": [{"type": "string", "enum": ["2"]}, {"type": "integer", "enum": ["2"]}]},
        {"type": "string", "enum": ["a", None]},
        {"type": "string", "enum": ["2", "4"]},
        {"enum": [2, "4"]},
        of(enum={"type": "string"}, required={"type": "string"}, type={"type": "string"}),
        {"default": {"type": "integer", "enum": ["2"]}},
    ],
)
def test_a_schema_that_can_be_met_is_not_changed(schema: dict[str, Any]) -> None:
    """A name may be described elsewhere, and a branch of a choice must not accept more."""
    assert make_satisfiable(schema) == schema


VALUES: st.SearchStrategy[Any] = st.sampled_from(["2", 2, 1, True, None, "a", "yes", [], {}])
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {"enum": st.lists(VALUES, min_size=1, max_size=3)},
        optional={"type": st.sampled_from(["string", "integer", "boolean", "null", "number"])},
    )
    | st.just({"type": "string"}),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "properties": st.dictionaries(st.sampled_from("ab"), inner),
                "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            }
        ),
        st.sampled_from(["anyOf", "allOf", "oneOf"]).flatmap(
            lambda name: st.lists(inner, min_size=1, max_size=2).map(lambda some: {name: some})
        ),
        inner.map(lambda one: {"not": one}),
    ),
    max_leaves=4,
)


@given(SCHEMAS, VALUES | st.dictionaries(st.sampled_from("abc"), VALUES))
def test_a_repair_keeps_every_accepted_value(schema: dict[str, Any], value: Any) -> None:
    """No value that fitted before is rejected, whatever the schema."""
    import jsonschema_rs

    if jsonschema_rs.validator_for(schema).is_valid(value):
        assert Schema(schema).violations(value) == []
