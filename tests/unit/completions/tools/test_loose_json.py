"""What models write instead of a JSON object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.tools.loose_json import dumps, is_json, read_object

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("  \n", {}),
        ("null", {}),
        ('""', {}),
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}\n```', {"a": 1}),
        ('Here it is: {"a": 1} I hope.', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('"\\"{\\\\\\"a\\\\\\": 1}\\""', {"a": 1}),
        # The form in which the platform's documentation of keypad tones prints arguments.
        (
            '"{"reason": "Navigating", "dtmf_tones": "2"}"',
            {"reason": "Navigating", "dtmf_tones": "2"},
        ),
        ('{\\"a\\": \\"b\\"}', {"a": "b"}),
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}),
        ("{'a': 'b'}", {"a": "b"}),
        ("{'a': 'it\\'s \"here\"'}", {"a": 'it\'s "here"'}),
        ("{'a': True, 'b': None, 'c': False}", {"a": True, "b": None, "c": False}),
        ('{a: 1, "b": "c: d, e: f"}', {"a": 1, "b": "c: d, e: f"}),
        ('{"a": "True, ] }",}', {"a": "True, ] }"}),
        ('{"a": 1}}', {"a": 1}),
        ('{"a": 1}{"a": 1}', {"a": 1}),
        ('{}{"a": 1}', {"a": 1}),
        ('{}\n{ } {"a": {}}', {"a": {}}),
        ("{}{}", {}),
        ('{"a": 1, "a": 1}', {"a": 1}),
        ('{"a": -0.0, "b": 0e9}', {"a": 0, "b": 0}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
    ],
)
def test_the_object_is_understood(text: str, value: dict[str, Any]) -> None:
    """Spellings that models are known for are read as meant."""
    assert read_object(text) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1',
        '{"a": "he',
        '{"a": 1}{"a": 2}',
        "[1]",
        "1",
        "true",
        '"words"',
        "words",
        '{"a" 1}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e400}',
        '{"a": [-1e400]}',
        '{"a": 1e-400}',
        '{"a": 1, "a": 2}',
        '{"a": 1, "a": true}',
        '{"b": [{"a": 1, "a": 2}]}',
        '{"a": "\\ud83d"}',
        '{"\\ud83d": 1}',
        '{"a": "\ud83d"}',
        "{'a': 1, 'a': 2}",
        "{'message': 'It's fine'}",
        "{" * 5000,
        '{"a":' * 5000,
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    """Text that was cut off or has two readings is not understood."""
    assert read_object(text) is None


@given(OBJECTS)
def test_valid_json_keeps_its_meaning(value: dict[str, Any]) -> None:
    """Layout, fences and a second encoding do not matter."""
    assert read_object(json.dumps(value)) == value
    assert read_object(json.dumps(value, indent=1, ensure_ascii=False)) == value
    assert read_object(f"```json\n{json.dumps(value)}\n```") == value
    assert read_object(json.dumps(json.dumps(value))) == value


@given(
    st.dictionaries(st.text(), st.text() | st.booleans() | st.none() | st.integers(), max_size=3)
)
def test_python_is_read_as_json(value: dict[str, Any]) -> None:
    """An object in Python's spelling keeps its meaning."""
    plain = {name: item for name, item in value.items() if "\\" not in repr((name, item))}
    assert read_object(repr(plain)) == plain


@given(st.text())
def test_nothing_raises(text: str) -> None:
    """Any text is read or not, without an error."""
    value = read_object(text)
    assert value is None or isinstance(value, dict)
    read_object("{" + text + "}")
    read_object('{"a": ' + text)


@given(OBJECTS)
def test_written_json_is_valid_and_compact(value: dict[str, Any]) -> None:
    """Every parser reads it, and it has no unneeded spaces."""
    assert json.loads(dumps(value)) == value
    assert dumps({"a": [1, "b c"]}) == '{"a":[1,"b c"]}'


@pytest.mark.parametrize("value", ["\ud83d", float("inf"), float("nan"), [{"\udc00": 1}]])
def test_values_that_json_cannot_hold_are_written_too(value: Any) -> None:
    """`is_json` reports half a character or Infinity, and showing them does not raise."""
    assert not is_json(value)
    assert dumps(value)
    assert is_json({"a": [None, True, 1.5, "\U0001f600"]})
