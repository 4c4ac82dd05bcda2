"""A call file's schema, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.scripted import scene_parser
from ops.call import schema
from ops.call.call_file import load
from ops.call.yaml_with_lines import CallFileError

ROOT = Path(__file__).parents[4]
FILES = sorted((ROOT / "calls").glob("*.yaml"))
TURN = "call: x\nturns:\n  - caller: Hello?\n"


def _file(folder: Path, text: str) -> Path:
    file = folder / "a.yaml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(
    "file", sorted((ROOT / "calls").glob("*.yaml")), ids=lambda file: file.stem
)
def test_the_shipped_calls_can_be_read(file: Path) -> None:
    """Each shipped call has a title and turns, and expects something of each turn."""
    call = load(file)
    assert call.title
    assert all(step.expect for step in call.steps)


def test_each_feature_of_the_platforms_guide_is_in_a_call() -> None:
    """Ten calls have scripts, and together they offer each of the platform's own tools."""
    calls = [load(file) for file in FILES]
    tools = {tool.name for call in calls for tool in call.agent.tools}
    assert [file.stem for file, call in zip(FILES, calls, strict=True) if not call.scripted] == [
        "deployed"
    ]
    assert len(FILES) == 11
    assert {
        "end_call",
        "language_detection",
        "transfer_to_agent",
        "transfer_to_number",
        "skip_turn",
        "play_keypad_touch_tone",
        "voicemail_detection",
        "update_state",
    } <= tools
    assert any(call.agent.extra_body for call in calls)
    assert any(call.has_fallback for call in calls)
    assert any(step.over for call in calls for step in call.steps)
    assert any(scene.get("empty") for call in calls for step in call.steps for scene in step.model)
    assert any(step.caller == "..." for call in calls for step in call.steps)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("call: x\nturns: [\n", 3, "no YAML"),
        ("turns:\n  - caller: a\n", 1, "call is missing"),
        ("call: x\n", 1, "turns is missing"),
        ("- a\n", 1, "a mapping was expected"),
        (
            TURN + "    expect:\n      say: yes\n",
            5,
            "turns[1].expect.say: unknown; did you mean says?",
        ),
        (TURN + "    expekt: {}\n", 4, "turns[1].expekt: unknown; did you mean expect?"),
        (TURN + "    caller: b\n", 4, "turns[1].caller: it is there twice"),
        (TURN + "    expect: {buffer_words: one}\n", 4, "a whole number was expected, not 'one'"),
        (TURN + "    expect: {silent: 1}\n", 4, "true or false was expected"),
        (TURN + "    expect: {posts: true}\n", 4, "a whole number was expected"),
        (TURN + "    expect: {ends: happily}\n", 4, "one of hung_up, transferred"),
        (TURN + "    expect: {posts: 0}\n", 4, "a whole number, 1 or more, was expected"),
        (TURN + "    expect: {says: [5]}\n", 4, "expect.says: text was expected, not 5"),
        (TURN + "    expect: {state: {a: ['/(/']}}\n", 4, "expect.state: /(/"),
        (TURN + "    expect: {calls: [{a: {b: '/(/'}}]}\n", 4, "expect.calls[1].a: /(/"),
        (TURN + "    expect: {calls: [{a: 5}]}\n", 4, "calls[1].a: a mapping was expected"),
        (TURN + "    model: {fails: 200}\n", 4, "a whole number, from 400 to 599,"),
        (TURN + "    model: []\n", 4, "turns[1].model: what it does is missing"),
        (TURN + "    model: {tools: [{a: 5}]}\n", 4, "tools[1].a: a mapping was expected"),
        (TURN + "  - {caller: b, over: '...'}\n", 4, "turns[2].over: there is no word in it"),
        (TURN + "  - {caller: b, over: '/(/'}\n", 4, "turns[2].over: /(/"),
        (TURN + "  - {caller: ' '}\n", 4, 'silence is written "..."'),
        (TURN + "    result: {a: 1}\n", 4, "turns[1].result.a: the agent has no tool of its own"),
        ("call: x\nturns:\n  - expect: {}\n", 3, "turns[1]: caller is missing"),
        (TURN + "agent: {tools: [a, a]}\n", 4, "agent.tools[2]: a is there twice"),
        (TURN + "agent: {headers: {a: bé}}\n", 4, "what no header can carry"),
        (TURN + "agent: {headers: {'a b': c}}\n", 4, "is not a header's name"),
        (TURN + "agent: {cascade_timeout_s: 0}\n", 4, "a number, from 0.1 to 60,"),
        (TURN + "agent: {tools: [{a: {parameters: {properties: 5}}}]}\n", 4, "a mapping was exp"),
        (TURN + "agent: {tools: [{language_detection: {languages: [no]}}]}\n", 4, "quote it"),
        (TURN + "agent: {tools: [{transfer_to_number: {numbers: {+15: a}}}]}\n", 4, "as int"),
        (TURN + "agent: {extra_body: {a: 2026-01-01}}\n", 4, "reads it as a timestamp: quote it"),
        (TURN + "agent: {extra_body: {a: .nan}}\n", 4, "is not a number in JSON"),
        (TURN + 'agent: {extra_body: {a: "\\ud800"}}\n', 4, "half of a character"),
        (TURN + "agent: &a {extra_body: {a: *a}}\n", 1, "no YAML: too deep"),
        ("a: &a [" + "1, " * 99 + "]\nb: &b [" + "*a, " * 99 + "]\nc: [*b, *b, *b]\n", 1, "20000"),
        (TURN + "    expect: {says: '/(/'}\n", 4, "turns[1].expect.says: /(/"),
        (TURN + "    expect: {calls: [{a: {}, b: {}}]}\n", 4, "expect.calls[1]: a name"),
        (TURN + "    expect: {model_saw: {user: a}}\n", 4, "a real model does not tell"),
        (TURN + "    model: {sayy: a}\n", 4, "turns[1].model.sayy: unknown; did you mean say?"),
        (TURN + "    model: {say: a}\n  - caller: b\n", 5, "turns[2]: model is missing"),
        (TURN + "    over: a\n", 4, "nothing was heard before it"),
        (TURN + "  - over: a\n", 4, "only a caller interrupts"),
        (TURN + "agent: {api_type: soap}\n", 4, "one of chat_completions, responses"),
        (
            TURN + "agent:\n  tools:\n    - end_call: {numbers: {}}\n",
            6,
            "tools[1].end_call.numbers",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, why: str
) -> None:
    """An error has file, line, field, and what was expected."""
    file = _file(tmp_path, text)
    with pytest.raises(CallFileError) as wrong:
        load(file)
    assert str(wrong.value).startswith(f"{file}:{line}: ")
    assert why in str(wrong.value)


@pytest.mark.parametrize("content", [TURN.encode("utf-16"), TURN.encode() + b"\xe4", b"a: \0"])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A binary file is refused in one line."""
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(CallFileError, match=r"no UTF-8|no YAML"):
        load(file)


def test_an_agents_settings_are_read(tmp_path: Path) -> None:
    """System tools, own tools, patience and parameters are read as written."""
    text = TURN + (
        "agent:\n  tools: [skip_turn, {book: {description: Books.}}]\n  cascade_timeout_s: 2\n"
        "deployment: {BufferWordsAfterMs: 500, SnapStart: true, BufferWords: [Hm]}\n"
    )
    call = load(_file(tmp_path, text))
    assert [(tool.name, tool.description) for tool in call.agent.tools][1] == ("book", "Books.")
    assert call.agent.patience.cascade_timeout_s == 2
    assert call.parameters == {
        "BufferWordsAfterMs": "500",
        "SnapStart": "true",
        "BufferWords": '["Hm"]',
    }
    assert not call.scripted


def test_both_sides_know_the_same_scenes() -> None:
    """A call file accepts exactly the scenes that the scripted model understands."""
    assert set(schema.SCENE) == set(scene_parser.FIELDS)
