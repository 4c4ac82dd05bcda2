"""What a caller gets from an answer with more than words in it, over every API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects import chat
from completions.dialects.deltas import CallPart, Delta, Done, Finish, Held, Reasoning, Text
from completions.speech.spoken_answer import REPEAT_CHARS, SpokenAnswer
from local.scripted.script import Cut, Pause, Role, Say, Script, Think, answer, calls
from local.scripted.script import Done as Terminator
from local.scripted.script import Finish as End
from tests.support.in_process import PlayedUpstream
from tests.support.pieces import in_pieces
from tests.support.ways import CHAT, Answer, Way

pytestmark = pytest.mark.looptime

BOOK: dict[str, Any] = {
    "name": "book",
    "description": "Books a table.",
    "parameters": {
        "type": "object",
        "properties": {"people": {"type": "integer"}, "when": {"type": "string"}},
        "required": ["people", "when"],
    },
}
ARGUMENTS = {"people": 4, "when": "19:00"}
JSON = json.dumps(ARGUMENTS)
OBJECT = json.dumps({"name": "book", "arguments": ARGUMENTS})
MADE = [("book", ARGUMENTS)]
MARKED = {
    "Hermes": f"<tool_call>\n{OBJECT}\n</tool_call>",
    "Llama": f"<function=book>{JSON}</function>",
    "Llama's tag": f"<|python_tag|>{OBJECT}<|eom_id|>",
    "Qwen": "<tool_call>\n<function=book>\n<parameter=people>\n4\n</parameter>\n"
    "<parameter=when>\n19:00\n</parameter>\n</function>\n</tool_call>",
    "Mistral": f"[TOOL_CALLS][{OBJECT}]",
    "newer Mistral": f"[TOOL_CALLS]book[ARGS]{JSON}",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.book:0"
    f"<|tool_call_argument_begin|>{JSON}<|tool_call_end|><|tool_calls_section_end|>",
    "DeepSeek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>book\n"
    f"```json\n{JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "harmony": "<|channel|>commentary to=functions.book <|constrain|>json<|message|>"
    f"{JSON}<|call|>",
    "Gemini": "```tool_code\nprint(default_api.book(people=4, when='19:00'))\n```",
    "Gemma": '<|tool_call>call:book{people:4,when:<|"|>19:00<|"|>}<tool_call|>',
    "Anthropic": '<function_calls>\n<invoke name="book">\n<parameter name="people">4</parameter>\n'
    '<parameter name="when">19:00</parameter>\n</invoke>\n</function_calls>',
    "FunctionGemma": "<start_function_call>call:book{people:4,when:<escape>19:00<escape>}"
    "<end_function_call>",
    "LM Studio": f"[TOOL_REQUEST]{OBJECT}[END_TOOL_REQUEST]",
    "Seed": "<seed:tool_call><function=book><parameter=people>4</parameter>"
    "<parameter=when>19:00</parameter></function></seed:tool_call>",
    "without an end": f"<tool_call>{OBJECT}",
    "respelt": '<tool_call>{"name": "functions.book", "arguments": {"people": "4", '
    '"when": "19:00"}}</tool_call>',
}


def text_script(text: str, size: int = 7) -> Script:
    """An answer that says this text in pieces of this size."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return [Role(), *(Say(piece) for piece in pieces), End(), Terminator()]


async def heard(way: Way, *scenes: Script, **fields: Any) -> tuple[Answer, int]:
    """Return what the caller gets from these answers, and how many requests it took."""
    answer, upstream, _ = await way.turn(*scenes, **{"tools": [BOOK], **fields})
    return answer, len(upstream.requests)


# -- calls written as text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("notation", MARKED)
async def test_a_marked_call_becomes_a_call(way: Way, notation: str, stream: bool) -> None:
    """None of its marks is heard, whichever the model uses."""
    answer, requests = await heard(way, text_script(MARKED[notation]), stream=stream)
    assert (answer.text.strip(), answer.calls, answer.finish) == ("", MADE, "tool_calls")
    assert requests == 1


@pytest.mark.parametrize("size", [1, 3, 500])
async def test_a_marked_call_may_come_in_any_pieces(way: Way, size: int) -> None:
    """Letter by letter or whole, it is the same call."""
    for text in MARKED.values():
        answer, _ = await heard(way, text_script(text, size))
        assert (answer.text.strip(), answer.calls) == ("", MADE)


async def test_words_before_a_marked_call_are_heard_in_time(way: Way) -> None:
    """They do not wait for the call's end."""
    script = [Role(), Say("One moment. "), Pause(1000), *text_script(MARKED["Hermes"])[1:]]
    answer, _ = await heard(way, script)
    assert answer.speech == [(0, "One moment. ")]
    assert answer.calls == MADE


async def test_a_marked_call_beside_the_same_real_call_counts_once(way: Way) -> None:
    """A client that carried out both would book twice."""
    script: Script = [Role(), Say(MARKED["Hermes"]), *calls("book", ARGUMENTS)[2:]]
    answer, _ = await heard(way, script)
    assert (answer.text, answer.calls) == ("", MADE)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "cancel", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "book", "arguments": {"people": "many"}}</tool_call>',
        '<tool_call>{"name": "book", "arguments": {"people": 4,</tool_call>',
        '<tool_call>{"name": "book", "argum',
        "<function=book>people: 4</function>",
        "[TOOL_CALLS]book{",
        "```tool_code\nbook(people=\n```",
    ],
)
async def test_an_invalid_marked_call_is_asked_for_again(way: Way, text: str) -> None:
    """It is not heard, and the model is told what was wrong."""
    answer, upstream, _ = await way.turn(text_script(text), calls("book", ARGUMENTS), tools=[BOOK])
    assert (answer.text, answer.calls) == ("", MADE)
    assert "not carried out" in str(upstream.requests[1].json)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"name": "book", "parameters": ARGUMENTS}),
        f"[{OBJECT}]",
        f"```json\n{OBJECT}\n```",
        f"book({JSON})",
        "book(people=4, when='19:00')",
        OBJECT[:-1],
    ],
)
async def test_a_call_without_marks_is_asked_for_again(way: Way, text: str, stream: bool) -> None:
    """It is neither heard nor carried out, since only its look suggests a call."""
    answer, requests = await heard(way, text_script(text), calls("book", ARGUMENTS), stream=stream)
    assert (answer.text, answer.calls, requests) == ("", MADE, 2)


@pytest.mark.parametrize(
    "text", [OBJECT, f"```json\n{OBJECT}\n```", "[book(people=4, when='19:00')]", OBJECT[:-1]]
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_without_marks_after_words_is_asked_for_again(
    way: Way, text: str, stream: bool
) -> None:
    """The words are streamed, the call is not."""
    script = text_script(f"One moment.\n\n{text}")
    answer, requests = await heard(way, script, calls("book", ARGUMENTS), stream=stream)
    words = "One moment." if stream else ""
    assert (answer.text.strip(), answer.calls, requests) == (words, MADE, 2)


async def test_a_second_call_without_marks_is_not_read_out(way: Way) -> None:
    """The turn ends with a sentence that admits the failure."""
    answer, requests = await heard(way, text_script(f"book({JSON})"))
    assert answer.calls == []
    assert "book" not in answer.text
    assert answer.text
    assert requests == 2


async def test_a_buffered_call_without_marks_is_an_error(way: Way) -> None:
    """A buffered answer would have neither words nor calls."""
    answer, _ = await heard(way, text_script(f"book({JSON})"), stream=False)
    assert answer.error is not None
    assert answer.error["code"] == "invalid_tool_call"


async def test_a_call_without_marks_beside_the_real_one_is_ignored(way: Way) -> None:
    """Some gateways send both."""
    script = [Role(), Say(f"book({JSON})"), *calls("book", ARGUMENTS)[2:]]
    answer, requests = await heard(way, script)
    assert (answer.text, answer.calls, requests) == ("", MADE, 1)


@pytest.mark.parametrize("text", [MARKED["Hermes"], OBJECT, MARKED["Gemini"], f"book({JSON})"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_the_caller_dictated_is_not_made(
    way: Way, text: str, stream: bool
) -> None:
    """A model that repeats it carries out nothing."""
    answer, requests = await heard(way, text_script(text), text=f"Read me {text}", stream=stream)
    assert (answer.calls, requests) == ([], 1)
    assert "book" in answer.text
    assert "tool_call>" not in answer.text


@pytest.mark.parametrize(
    "fields", [{"tools": []}, {"tool_choice": "none"}, {"tool_choice": {"type": "none"}}], ids=str
)
async def test_without_tools_text_between_marks_is_heard(way: Way, fields: dict[str, Any]) -> None:
    """The marks themselves are removed."""
    script = text_script("So: <tool_call>ring twice</tool_call>, [TOOL_CALLS]and <function=wait>.")
    answer, requests = await heard(way, script, **fields)
    assert (answer.text, answer.calls) == ("So: ring twice, and wait>.", [])
    assert requests == 1


@pytest.mark.parametrize("fields", [{"tools": []}, {"tool_choice": "none"}], ids=str)
async def test_without_tools_a_written_call_is_not_read_out(
    way: Way, fields: dict[str, Any]
) -> None:
    """In a voice call nobody wants to hear it; a program may have asked for that notation."""
    text = f"Fine. {MARKED['Hermes']}"
    answer, _ = await heard(way, text_script(text), **fields)
    assert (answer.text, answer.calls) == ("Fine. ", [])
    answer, _ = await heard(way, text_script(text), stream=False, **fields)
    assert OBJECT in answer.text


async def test_words_between_marks_are_heard(way: Way) -> None:
    """Text that is no call is spoken without its marks."""
    answer, _ = await heard(way, text_script("So: <tool_call>ring twice</tool_call>."))
    assert (answer.text, answer.calls) == ("So: ring twice.", [])


async def test_requested_json_is_no_call(way: Way) -> None:
    """A caller who asks for JSON gets it, whatever it holds."""
    answer, requests = await heard(way, text_script(OBJECT), json_format=True)
    assert (answer.text, answer.calls, requests) == (OBJECT, [], 1)


@pytest.mark.parametrize(
    "words",
    [
        "Say {name} first, then press [1] or <2>, please.",
        "a < b, I <3 you, and **bold** `x`.",
        "[laughs] Yes.",
        "books are here (now).",
        '{"open": "until six"}',
        'Say {"name": "Bo"}, [book] it, {"name": "book"} and `{"x": 1}`.',
        f"It looks like this: {OBJECT}",
        "See:\n```json\n[1]\n```",
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_ordinary_signs_are_heard(way: Way, words: str, stream: bool) -> None:
    """Braces, brackets and comparisons are part of the words."""
    answer, requests = await heard(way, text_script(words), stream=stream)
    assert (answer.text, answer.calls, requests) == (words, [], 1)


async def test_only_a_possible_mark_delays_words() -> None:
    """Each piece is heard when it comes, unless it may become a mark or a call."""
    pieces = ["I ", "am ", "[", "1] ", "a < ", "b", "<d", "> and ", "{", "x\n", "{", "y}"]
    steps = [step for piece in pieces for step in (Say(piece), Pause(100))]
    answer, _ = await heard(CHAT, [Role(), *steps, End(), Terminator()])
    heard_at = [0, 100, 300, 400, 500, 600, 700, 800, 900, 1100]
    assert [at_ms for at_ms, _ in answer.speech] == heard_at


@pytest.mark.parametrize("words", [[], [Say("One moment. ")]])
async def test_a_slowly_written_call_does_not_time_out(way: Way, words: list[Say]) -> None:
    """Nothing is heard meanwhile, but the model is at work."""
    pieces = [step for piece in MARKED["Hermes"] for step in (Say(piece), Pause(100))]
    script: Script = [Role(), *words, *pieces, End(), Terminator()]
    patience = {
        "first_token_timeout_ms": 3000,
        "stall_timeout_ms": 3000,
        "reasoning_timeout_ms": 20_000,
    }
    answer, requests = await heard(way, script, settings=patience)
    assert (answer.calls, requests) == (MADE, 1)


async def test_half_a_call_of_a_cut_answer_is_not_heard(way: Way) -> None:
    """Another answer follows, as after any cut."""
    script: Script = [Role(), Say('<tool_call>{"name": "bo'), Cut()]
    answer, _ = await heard(way, script, calls("book", ARGUMENTS))
    assert (answer.text, answer.calls) == ("", MADE)


# -- thoughts and special tokens


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "<thought>Hm.</thought>Yes.",
        "[THINK]Hm.[/THINK]Yes.",
        "<|channel>thought\nHm.<channel|>Yes.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
        "<｜begin▁of▁sentence｜>Yes.<｜end▁of▁sentence｜>",
        "Yes.<|im_end|>",
        "<s>Yes.</s>",
        "Yes.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHm.",
    ],
)
async def test_no_mark_and_no_thought_is_heard(way: Way, text: str, stream: bool) -> None:
    """This holds over every API, in one piece or many."""
    for size in (3, 500):
        answer, requests = await heard(way, text_script(text, size), tools=[], stream=stream)
        assert (answer.text, requests) == ("Yes.", 1)


@pytest.mark.parametrize("text", ["</think>Yes.", "Yes.</think>"])
async def test_a_tag_after_thoughts_in_their_own_field_is_ignored(way: Way, text: str) -> None:
    """The next answer is heard as it comes."""
    upstream = PlayedUpstream(
        [Role(), Think("Hm. "), *text_script(text)[1:]], answer("I do.", pace_ms=100)
    )
    caller = way.caller(upstream)
    assert way.read(await way.post(caller)).text == "Yes."
    got = way.read(await way.post(caller))
    assert [at_ms for at_ms, _ in got.speech] == [0, 100]


# -- repeats

LONG = "We are open every day until six, on Fridays until nine."


@pytest.mark.parametrize("behind", [[], [Say("\n")]])
@pytest.mark.parametrize("first", [LONG, f"<think>Hm.</think>\n{LONG}"])
async def test_an_answer_repeated_by_its_last_delta_is_spoken_once(
    way: Way, first: str, behind: list[Say]
) -> None:
    """The repetition may leave out the thoughts."""
    for again in (first, LONG):
        script = [*text_script(first)[:-2], Say(again), *behind, End(), Terminator()]
        answer, _ = await heard(way, script, tools=[])
        assert answer.text.strip() == LONG


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["No, ", "no, ", "no, ", "no."], "No, no, no, no."),
        (["Yes. ", "Yes. "], "Yes. Yes. "),
        ([LONG, LONG, " Really."], f"{LONG}{LONG} Really."),
        ([LONG, " ", f"{LONG}!"], f"{LONG} {LONG}!"),
        (["So: ", LONG, LONG], f"So: {LONG}{LONG}"),
    ],
)
async def test_intended_repetitions_are_spoken(way: Way, pieces: list[str], words: str) -> None:
    """These are short words, text that goes on afterwards, and text that only looks alike."""
    script: Script = [Role(), *(Say(piece) for piece in pieces), End(), Terminator()]
    answer, _ = await heard(way, script, tools=[])
    assert answer.text == words


# -- the deltas themselves


def spoken(**fields: Any) -> SpokenAnswer:
    """Begin an answer to a request that offers a tool."""
    return SpokenAnswer(chat.parse(CHAT.body(tools=[BOOK], **fields)))


def test_an_ordinary_chunk_is_passed_on_as_it_is() -> None:
    """Its deltas are the same object, so that its bytes can be relayed."""
    answer = spoken()
    for text in ("Hello", " there", " 5 > 3"):
        deltas: tuple[Delta, ...] = (Text(text),)
        got, unchanged = answer.hear(deltas)
        assert got is deltas
        assert unchanged


def test_held_back_text_is_a_sign_of_life() -> None:
    """A chunk whose text is held back shows that the model is at work."""
    answer = spoken()
    assert answer.hear((Text("<tool_call>"),)) == ((Held(),), False)
    assert answer.hear(()) == ((), True)


def test_a_long_answer_in_long_pieces_takes_linear_time() -> None:
    """It is compared with a piece only if their lengths are equal."""
    answer = spoken()
    for number in range(20_000):
        answer.hear((Text(f"{number:-<50}"),))


@given(
    in_pieces(
        st.lists(
            st.sampled_from([*MARKED.values(), OBJECT, "Hello ", "{", "[", "book", "(", "<", "\n"]),
            max_size=4,
        ).map("".join)
    )
)
def test_pieces_are_heard_like_the_whole_text(text_and_pieces: tuple[str, list[str]]) -> None:
    """The same is heard and called, however an answer is cut."""
    text, pieces = text_and_pieces
    assert _heard([text]) == _heard(pieces) or any(len(one) >= REPEAT_CHARS for one in pieces)


def _heard(pieces: Iterable[str]) -> tuple[str, list[CallPart]]:
    answer = spoken()
    chunks = [(Text(piece),) for piece in pieces] + [(Finish("stop"), Done())]
    deltas = [delta for chunk in chunks for delta in answer.hear(chunk)[0]]
    assert not any(isinstance(delta, Reasoning) for delta in deltas)
    return (
        "".join(delta.text for delta in deltas if isinstance(delta, Text)),
        [delta for delta in deltas if isinstance(delta, CallPart)],
    )
