"""Schemas that callers send: used if possible, harmless if not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

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
def test_an_unusable_schema_accepts_everything(what: str) -> None:
    """A broken or hostile schema neither raises nor rejects."""
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
def test_a_schema_may_refer_to_itself(schema: dict[str, Any]) -> None:
    """Circular references do not loop for ever."""
    assert Schema(schema).violations({"a": {"a": {}}}) == []


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(?=a)(a|a)*$", "^(?:(?=a)a+)+$", "(.*a){20}"])
def test_no_pattern_hangs(pattern: str) -> None:
    """Patterns that hang other engines are stopped before a call would notice."""
    schema = Schema({"properties": {"a": {"pattern": pattern}}, "patternProperties": {pattern: {}}})
    started = time.process_time()
    schema.violations({"a": "a" * 5_000 + "!", "a" * 5_000 + "!": 1})
    assert time.process_time() - started < 2


def test_null_keywords_are_not_set() -> None:
    """Serialisers write null for unset keywords; the rest of the schema still counts."""
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


def test_a_violation_does_not_quote_the_value() -> None:
    """It names the place and what is expected there."""
    (violation,) = Schema(of(a=of(b={"type": "integer"}))).violations({"a": {"b": "s3cret"}})
    assert str(violation) == 'a.b: the value is not of type "integer"'


def test_violations_are_limited() -> None:
    """Thousands of wrong items give no more than the limit."""
    schema = Schema({"properties": {"a": {"items": {"type": "integer"}}}})
    assert len(schema.violations({"a": ["x"] * 5000})) == VIOLATIONS_LIMIT


def test_the_library_is_loaded_by_the_first_tool_call() -> None:
    """A cold start does not pay for the library."""
    code = (
        "import sys, completions.tools.validation; assert 'jsonschema_rs' not in sys.modules;"
        "completions.tools.schemas.Schema({}); assert 'jsonschema_rs' in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(FUNCTIONS)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
