"""Schemas that callers send: used where they can be, survived where they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.tools.coercion import coerced
from completions.tools.schemas import VIOLATIONS_LIMIT, Schema

FUNCTIONS = Path(__file__).parents[4] / "functions"


def of(**properties: Any) -> dict[str, Any]:
    """A schema of an object that requires all its properties."""
    return {"type": "object", "properties": properties, "required": [*properties]}


DOUBLING = {
    "$ref": "#/$defs/d0",
    "$defs": {
        **{f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(30)},
        "d30": {"type": "string"},
    },
}
DEEP: dict[str, Any] = {"type": "string"}
for _ in range(20_000):
    DEEP = {"type": "object", "properties": {"a": DEEP}}

UNUSABLE: dict[str, dict[str, Any]] = {
    "an unknown type": {"type": "strng"},
    "properties that are none": {"properties": [1]},
    "a broken pattern": {"properties": {"a": {"pattern": "(["}}},
    "a pattern too large": {"properties": {"a": {"pattern": "(a{1,1000}){1,1000}"}}},
    "another machine": {"$ref": "http://127.0.0.1:9/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "an unknown draft": {"$schema": "http://127.0.0.1:9/draft", "type": "string"},
    "a pointer to nothing": {"$ref": "#/$defs/none"},
    "an anchor": {"$ref": "#there", "$defs": {"a": {"$anchor": "there", "type": "string"}}},
    "a dynamic reference": {"$dynamicRef": "#meta"},
    "two to the thirtieth branches": DOUBLING,
    "twenty thousand levels": DEEP,
    "a schema that is a word": {"properties": "a"},
    "numbers for names": {"required": [1, 2]},
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_schema_that_cannot_be_used_finds_nothing_wrong(what: str) -> None:
    """A broken or hostile schema neither raises nor judges."""
    assert Schema(UNUSABLE[what]).violations({"a": 1}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"properties": {"a": {"$ref": "#"}}},
    ],
)
def test_a_schema_that_refers_to_itself_ends(schema: dict[str, Any]) -> None:
    """A circle of references is no endless loop."""
    assert Schema(schema).violations({"a": {"a": {}}}) == []


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(?=a)(a|a)*$", "^(?:(?=a)a+)+$", "(.*a){20}"])
def test_no_pattern_hangs(pattern: str) -> None:
    """Patterns that take other engines for ever take this one no time that a call would notice."""
    schema = Schema({"properties": {"a": {"pattern": pattern}}, "patternProperties": {pattern: {}}})
    started = time.process_time()
    schema.violations({"a": "a" * 5_000 + "!", "a" * 5_000 + "!": 1})
    assert time.process_time() - started < 2


def test_keywords_that_are_null_are_not_set() -> None:
    """Serialisers write null for what is not set; the rest of the schema still counts."""
    schema = Schema(
        {
            "type": "object",
            "description": None,
            "properties": {"a": {"type": "integer", "enum": None, "description": None}},
            "required": None,
        }
    )
    assert schema.violations({"a": 1}) == []
    assert [violation.path for violation in schema.violations({"a": "x"})] == [("a",)]


@pytest.mark.parametrize(
    "draft",
    [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ],
)
def test_every_draft_is_understood(draft: str) -> None:
    """A schema may name any draft from 4 on."""
    schema = Schema({"$schema": draft, **of(a={"type": "integer"})})
    assert schema.violations({"a": 1}) == []
    assert len(schema.violations({"a": "x"})) == 1


def test_what_is_wrong_is_told_without_the_value() -> None:
    """A violation names the place and what is expected, never what stood there."""
    (violation,) = Schema(of(a=of(b={"type": "integer"}))).violations({"a": {"b": "s3cret"}})
    assert str(violation) == 'a.b: the value is not of type "integer"'


def test_there_is_an_end_to_what_is_wrong() -> None:
    """Thousands of wrong items are told as a few."""
    schema = Schema({"properties": {"a": {"items": {"type": "integer"}}}})
    assert len(schema.violations({"a": ["x"] * 5000})) == VIOLATIONS_LIMIT


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
def test_another_spelling_is_put_right(
    schema: dict[str, Any], value: dict[str, Any], fits: dict[str, Any]
) -> None:
    """What a model misspelt is read as what it meant, and the original is left alone."""
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
        (of(a={"minimum": 3}), {"a": 1}),
        (of(a={"items": {"type": "integer"}}), {"a": ["1"] * 1000}),
        (of(a={"const": "x"}), {"a": "y"}),
    ],
)
def test_nothing_is_invented(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """What cannot be read as what is expected is not replaced by something else."""
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
def test_what_is_put_right_fits(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """Whatever schema meets whatever object: no error, and a coerced object fits."""
    checked = Schema(schema)
    fits = coerced(value, checked)
    assert fits is None or checked.violations(fits) == []
    if not checked.violations(value):
        assert fits is value


def test_the_library_is_loaded_by_the_first_tool_call() -> None:
    """A cold start does not pay for it."""
    code = (
        "import sys, completions.tools.validation; assert 'jsonschema_rs' not in sys.modules;"
        "completions.tools.schemas.Schema({}); assert 'jsonschema_rs' in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(FUNCTIONS)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
