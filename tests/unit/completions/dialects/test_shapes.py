"""Shapes: what APIs refuse in a history, told from their words, and mended."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.shapes import SHAPES, mended, refused_shapes

HISTORY: dict[str, list[dict[str, Any]]] = {
    "developer": [{"role": "developer", "content": "Be short."}, {"role": "user", "content": "Hi."}]
}
"""For each row a history that it mends."""

REFUSED = [
    ("developer", "developer is not one of ['system', 'assistant', 'user'] - 'messages.0.role'"),
    (
        "developer",
        "messages[0].role: unknown variant `developer`, expected one of `system`, `user`",
    ),
    ("developer", "Invalid role: developer"),
]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_shape_is_told_from_an_apis_words(name: str, words: str) -> None:
    """The row whose words they are is found, and no other."""
    assert refused_shapes(words, {"messages": HISTORY[name]}) == {name}


@pytest.mark.parametrize(("_", "words"), REFUSED)
def test_words_about_a_shape_that_is_not_there_tell_nothing(_: str, words: str) -> None:
    """A row that would change nothing is not what the API meant."""
    assert not refused_shapes(words, {"messages": [{"role": "user", "content": "Hi."}]})
    assert not refused_shapes(words, {"input": "Hi."})


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_mended_history_has_the_shape_no_longer(shape: Any) -> None:
    """Mending it again changes nothing, and what was sent in is left as it was."""
    body = {"messages": HISTORY[shape.name]}
    before = repr(body)
    once = mended(body, [shape.name])
    assert once != body
    assert mended(once, [shape.name]) is once
    assert repr(body) == before
    assert mended(body, []) is body


def test_instructions_of_a_developer_become_the_systems() -> None:
    """Nothing but the role changes, in either API."""
    sent = HISTORY["developer"]
    for name in ("messages", "input"):
        assert mended({name: sent}, ["developer"]) == {
            name: [{**sent[0], "role": "system"}, sent[1]]
        }
