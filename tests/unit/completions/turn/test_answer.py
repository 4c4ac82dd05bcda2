"""One model answer on its way to the caller: relayed, filtered, its calls held until complete."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.dialects import chat
from completions.dialects.deltas import CallPart, Chunk, Text
from completions.dialects.deltas import Finish as FinishDelta
from completions.turn.answer import Answer as ModelAnswer
from completions.turn.record import TurnRecord
from local.scripted.script import (
    At,
    Cut,
    Decline,
    Done,
    Fail,
    Finish,
    Head,
    Pause,
    Raw,
    Reply,
    Role,
    Say,
    Script,
    Step,
    Think,
    Unstreamed,
    Usage,
    answer,
    call,
    refused,
)
from local.scripted.script_player import Scene
from tests.support import rules
from tests.support.chat_events import chat_event, chat_whole
from tests.support.in_process import PlayedUpstream
from tests.support.tools import TRANSFER
from tests.support.turns import Heard, body
from tests.support.ways import CHAT, OVER_CHAT, RESPONSES, WAYS, Way, in_virtual_time

pytestmark = pytest.mark.looptime

PHRASE = "Hang on, one moment"
COPIES = [
    "Hang on, one moment... ",
    "hang on one moment, ",
    "Hang on, one moment…",
    "Hang on—one moment: ",
]


def new_answer(record: TurnRecord | None = None) -> ModelAnswer:
    """Return an answer to a chat request, with nothing read yet."""
    request = chat.parse(body(tools=[{"type": "function", "function": TRANSFER}]))
    return ModelAnswer(request, chat.writer(request), record or TurnRecord())


# -- what is held back


async def test_calls_are_held_and_words_are_relayed() -> None:
    """A chunk with words is written at once; one with a call writes nothing."""
    record = TurnRecord()
    answer = new_answer(record)
    assert b"Hello" in answer.pass_on(Chunk(None, (Text("Hello"),)))
    assert (answer.audible, record.text) == (True, "Hello")
    part = CallPart(0, "c", "transfer_to_agent", '{"agent_number": 1}')
    assert answer.pass_on(Chunk(None, (part,))) == b""
    assert [one.name for one in answer.judge_calls().calls] == ["transfer_to_agent"]


async def test_the_finish_is_kept_for_the_end() -> None:
    """The code that ends the turn writes it, not the chunk that brought it."""
    answer = new_answer()
    assert answer.pass_on(Chunk(None, (FinishDelta("length"),))) == b""
    assert answer.finish == "length"


async def test_an_answer_without_words_and_calls_is_empty() -> None:
    """Words end that, and so does the beginning of a call."""
    wordless, spoken, calling = new_answer(), new_answer(), new_answer()
    spoken.pass_on(Chunk(None, (Text("Hello"),)))
    calling.pass_on(Chunk(None, (CallPart(0, "c", "transfer_to_agent", ""),)))
    assert [one.is_nothing for one in (wordless, spoken, calling)] == [True, False, False]


async def test_unfinished_calls_can_be_dropped() -> None:
    """After a cut only calls with complete arguments are kept."""
    answer = new_answer()
    parts = [
        CallPart(0, "a", "transfer_to_agent", '{"agent_number": 1}'),
        CallPart(1, "b", "transfer_to_agent", '{"agent'),
    ]
    for part in parts:
        answer.pass_on(Chunk(None, (part,)))
    answer.drop_unfinished_calls()
    assert [one.arguments for one in answer.judge_calls().calls] == [parts[0].arguments]


@pytest.mark.parametrize(
    ("before", "text", "heard"),
    [
        ("One moment.", "Sorry.", " Sorry."),
        ("One mom", "Sorry.", "... Sorry."),
        ("", "Sorry.", "Sorry."),
    ],
)
async def test_a_second_answer_is_set_apart(before: str, text: str, heard: str) -> None:
    """A space separates its first words from those that were heard before."""
    record = TurnRecord(words=[before] if before else [])
    answer = new_answer(record)
    answer.pass_on(Chunk(None, (Text(text),)))
    assert record.words[-1] == heard


async def test_the_moment_of_the_first_words_is_recorded() -> None:
    """A call counts as output of the model, but not as spoken words."""
    record = TurnRecord()
    await asyncio.sleep(1)
    new_answer(record).note_output()
    await asyncio.sleep(1)
    new_answer(record).pass_on(Chunk(None, (Text("Hello"),)))
    assert (record.first_model_output_at, record.first_spoken_at) == (1.0, 2.0)


# -- the model's copy of our buffer words


def heard_after_buffer_words(way: Way, text: str, cuts: list[int]) -> str:
    """Return what is heard of a late answer that is cut into chunks at these places."""
    places = sorted({cut for cut in cuts if 0 < cut < len(text)})
    pieces = [text[a:b] for a, b in zip((0, *places), (*places, len(text)), strict=True)]
    script: list[Step] = [At(2500), Role(), *map(Say, pieces), Finish(), Done()]
    extra = {"buffer_words": [PHRASE]}
    got, _, _ = in_virtual_time(way.turn(script, elevenlabs_extra_body=extra))
    return got.text


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(
    copy=st.sampled_from(COPIES),
    rest=st.sampled_from(["It is sunny.", "Hang on, it is sunny.", "One moment ago it rained."]),
    cuts=st.lists(st.integers(1, 45), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_the_models_copy_of_buffer_words_is_not_heard(
    way: Way, copy: str, rest: str, cuts: list[int]
) -> None:
    """However it is spelt and chunked, the rest of the answer is heard once and in full."""
    assert heard_after_buffer_words(way, copy + rest, cuts) == f"{PHRASE}... {rest}"


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(
    text=st.sampled_from(
        ["Hang on.", "Hang on, one momentous day it was.", "Hang", "One moment, please.", "5."]
    ),
    cuts=st.lists(st.integers(1, 45), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_text_that_resembles_buffer_words_is_heard(way: Way, text: str, cuts: list[int]) -> None:
    """Only a copy of the phrase is removed; nothing else of the answer is lost."""
    assert heard_after_buffer_words(way, text, cuts) == f"{PHRASE}... {text}"


async def test_a_copy_alone_is_an_empty_answer(way: Way) -> None:
    """The model is asked again."""
    extra = {"buffer_words": [PHRASE]}
    script = answer(f"{PHRASE}...", at_ms=2500)
    got, _, _ = await way.turn(script, answer("Sunny.", at_ms=500), elevenlabs_extra_body=extra)
    assert got.text == f"{PHRASE}... Sunny."
    assert got.speech[-1][0] == 3000


async def test_a_copy_between_reasoning_is_not_heard(way: Way) -> None:
    """The copy is found even with reasoning before, inside and after it."""
    script: Script = [
        *(At(2500), Role(), Think("Hm."), Say("Hang on,"), Think("Well."), Say(" one moment... ")),
        *(Say("Sunny."), Finish(), Done()),
    ]
    got, _, _ = await way.turn(script, elevenlabs_extra_body={"buffer_words": [PHRASE]})
    assert (got.text, got.reasoning) == (f"{PHRASE}... Sunny.", "Hm.Well.")


async def test_without_buffer_words_nothing_is_removed(way: Way) -> None:
    """A model that answers in time may begin with the same phrase."""
    extra = {"buffer_words": ["Hang on"]}
    got, _, _ = await way.turn(answer("Hang on... It is sunny."), elevenlabs_extra_body=extra)
    assert got.text == "Hang on... It is sunny."


# -- what is relayed


async def test_a_refusal_is_spoken(way: Way) -> None:
    """A turn that speaks reads it out in the model's words; other turns relay it as a refusal."""
    script: list[Step] = [Role(), Decline("I can"), Decline("not."), Finish(), Done()]
    got, _, _ = await way.turn(script)
    assert (got.text, got.finish) == ("I cannot.", "stop")
    got, _, heard = await way.turn(script, stream=False)
    assert got.text == "I cannot."
    assert (b'"refusal"' in heard.body) != way.over_chat  # Rewritten as text.


async def test_usage_is_for_callers_who_ask_for_it() -> None:
    """The upstream is always asked for usage."""
    for told in (False, True):
        options: Any = {"stream_options": {"include_usage": True}} if told else {}
        got, upstream, _ = await CHAT.turn(answer(), **options)
        assert upstream.requests[0].json["stream_options"]["include_usage"] is True
        assert (got.usage is not None) == told


async def test_usage_is_that_of_the_answer_that_was_heard(way: Way) -> None:
    """Answers that were cut, empty or repeated do not count."""
    ours: list[Step] = [Role(), Say("Sunny."), Finish(), Usage(1, 2), Done()]
    others: list[list[Step]] = [
        [Role(), Say("It"), Usage(90, 90), Cut()],
        [Role(), Finish(), Usage(90, 90), Done()],
        [Role(), *call("transfer_to_agent", "{}"), Finish(), Usage(90, 90), Done()],
    ]
    options: Any = {"stream_options": {"include_usage": True}} if way is CHAT else {}
    for other in others:
        got, _, _ = await way.turn(other, ours, tools=[TRANSFER], **options)
        assert got.usage is not None
        assert got.usage["total_tokens"] == 3


async def test_several_answers_are_relayed() -> None:
    """With `n` all chunks are relayed, and the first finish does not end the turn."""
    one = [chat_event({"content": "One."}), chat_event({}, "stop")]
    second = {"index": 1}
    two = [chat_event({"content": "Two."}, choice=second), chat_event({}, "stop", choice=second)]
    heard, _ = await several([*one, Pause(3000), *two, Usage(), Done()])
    assert heard.finishes == ["stop", "stop"]
    assert heard.text == "One.Two."
    assert heard.ends == 1
    assert b'"usage"' not in heard.body
    heard, _ = await several([*one, *two])
    assert heard.ends == 1
    heard, _ = await several([*one, Cut()])
    assert heard.finishes == ["stop"]
    assert "error" in heard.events[-2][1]
    assert heard.ends == 1
    heard, upstream = await several(refused(500))
    assert heard.status == 500
    assert len(upstream.requests) == 3


async def several(script: Scene) -> tuple[Heard, PlayedUpstream]:
    """Play a turn that asks for two answers."""
    upstream = PlayedUpstream(script)
    return await CHAT.post(CHAT.caller(upstream), CHAT.body(n=2)), upstream


async def test_json_in_answer_to_a_stream_is_streamed(way: Way) -> None:
    """Some upstreams do not stream; the caller still gets the whole answer as a stream."""
    script: list[Step] = [
        Unstreamed(),
        Think("Hm."),
        Say("Sunny."),
        *call("transfer_to_agent", {"agent_number": 1}),
        Finish("tool_calls"),
    ]
    got, upstream, _ = await way.turn(script, tools=[TRANSFER])
    assert (got.text, got.finish) == ("Sunny.", "tool_calls")
    assert got.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert len(upstream.requests) == 1
    got, _, _ = await way.turn([Unstreamed(), Say("Sunny."), Finish()])
    assert (got.text, got.finish) == ("Sunny.", "stop")


async def test_an_answer_of_another_kind_is_relayed() -> None:
    """A custom tool's call wins without words and reaches the output unchanged."""
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "x", "input": "y"}
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "in_progress",
        "output": [],
    }
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [item]},
        },
    ]
    sent = [
        Raw(
            f"event: {event['type']}\n"
            f"data: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        )
        for number, event in enumerate(events)
    ]
    upstream = PlayedUpstream([Head(), *sent])
    heard = await RESPONSES.post(RESPONSES.caller(upstream))
    assert len(upstream.requests) == 1
    last = [event for _, event in heard.events if isinstance(event, dict)][-1]
    assert [one["type"] for one in last["response"]["output"]] == ["custom_tool_call"]


# -- what is repaired for strict clients


SKIPPED = [
    b": keep-alive\n\n",
    b"data: : PROCESSING\n\n",
    b"event: ping\ndata: 2026-11-28T10:00:00Z\n\n",
    b'data: {"type":"ping"}\n\n',
    b'data: {"choices":[]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"conte\n\n',
    b"data: []\n\n",
    b"data: [START]\n\n",
    b"data: 7\n\n",
    b"event: heartbeat\ndata:\n\n",
    b'data: {"choices":null}\n\n',
    b'data: {"choices":[{}],"usage":7}\n\n',
    b'data: {"choices":[{"delta":null}]}\n\n',
]


@pytest.mark.parametrize("stream", [True, False])
async def test_empty_events_are_skipped(way: Way, stream: bool) -> None:
    """They are dropped before, between and after the words, and the answer is complete."""
    junk = [Raw(data) for data in SKIPPED]
    words: list[Step] = [Role(), *junk, Say("Yes, "), *junk, Say("until six."), *junk]
    got, upstream, heard = await way.turn([*junk, *words, Finish(), *junk, Done()], stream=stream)
    assert (got.text, got.finish) == ("Yes, until six.", "stop")
    assert len(upstream.requests) == 1
    assert b"ping" not in heard.body


@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_content_in_parts_is_heard_as_text(way: Way) -> None:
    """Thinking parts become reasoning and references are dropped, streamed or not."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    parts = [thinking, {"type": "text", "text": "Yes."}, {"type": "reference"}]
    pieces = [chat_event({"role": "assistant", "content": [part]}) for part in parts]
    streamed: list[Step] = [*pieces, Finish(), Done()]
    whole: list[Step] = [chat_whole({"role": "assistant", "content": parts}, "stop")]
    for script, stream in ((streamed, True), (whole, True), (whole, False)):
        got, upstream, _ = await way.turn(script, stream=stream)
        assert (got.text, got.reasoning) == ("Yes.", "Hm.")
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_halves_of_characters_are_joined_or_replaced(way: Way) -> None:
    """Every byte that the caller gets is UTF-8 and every frame JSON, streamed or not."""
    halves = [rb"Yes \ud83d", rb"\ude00, until", rb" six\ud83d."]
    plain = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
    streamed: list[Step] = [Role(), *(Raw(plain % half) for half in halves), Finish(), Done()]
    body = chat_whole({"role": "assistant", "content": "Yes 😀, until six*."}, "stop").body
    whole: list[Step] = [Reply(body.replace(b"*", rb"\ud83d"))]
    for script, stream in ((streamed, True), (whole, True), (whole, False)):
        got, upstream, _ = await way.turn(script, stream=stream)
        assert got.text == "Yes 😀, until six\ufffd."
        assert len(upstream.requests) == 1


async def test_an_empty_finish_is_no_end() -> None:
    """Clients that compare with null only would stop at the first word."""
    words = [chat_event({"content": text}, "") for text in ("Yes, ", "until six.")]
    got, _, heard = await CHAT.turn([Role(), *words, Finish("eos"), Done()])
    assert (got.text, got.finish) == ("Yes, until six.", "stop")
    assert heard.finishes == ["stop"]


@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_nothing_after_a_finish_is_heard(way: Way) -> None:
    """Sentences and errors after it come from a proxy; the answer was complete."""
    noise: list[Step] = [Say(" stream closed"), Fail(), Raw(b"data: stream closed\n\n")]
    for behind in noise:
        got, upstream, _ = await way.turn([Role(), Say("Yes."), Finish(), behind, Done()])
        assert (got.text, got.finish) == ("Yes.", "stop")
        assert len(upstream.requests) == 1


async def test_arguments_sent_as_an_object_become_one_json_string() -> None:
    """Clients read `arguments` as text, so a chunk that holds an object is rewritten."""
    part = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "transfer_to_agent", "arguments": {"agent_number": 2}},
    }
    chunk = chat_event({"tool_calls": [part]})
    caller = CHAT.caller(PlayedUpstream([Role(), chunk, Finish("tool_calls"), Done()]))
    heard = await CHAT.post(caller, CHAT.body(tools=[TRANSFER]))
    ((_, call),) = heard.calls
    assert json.loads(call["function"]["arguments"]) == {"agent_number": 2}
    assert CHAT.read(heard).calls == [("transfer_to_agent", {"agent_number": 2})]


async def test_a_role_in_every_chunk_is_written_once() -> None:
    """The SDK's helper joins repeated values and would read `assistantassistant`."""
    role = {"role": "assistant"}
    chunks = [chat_event({**role, "content": text}) for text in ("Su", "nny", ".")]
    got, _, heard = await CHAT.turn([*chunks, chat_event({**role, "content": ""}, "stop"), Done()])
    assert (got.text, got.finish) == ("Sunny.", "stop")
    assert (await rules.sdk_final(heard.body)).choices[0].message.role == "assistant"


async def test_a_changing_id_does_not_reach_a_strict_client() -> None:
    """A stream has one id, even if the upstream's id changes."""
    chunks = [
        chat_event({"role": "assistant", "content": "One "}, id="c1"),
        chat_event({"content": "two."}, id="c2"),
        chat_event({}, "stop", id="c3"),
    ]
    upstream = PlayedUpstream([Head(), *chunks, Raw(b"data: [DONE]\n\n")])
    heard = await CHAT.post(CHAT.caller(upstream))
    assert CHAT.read(heard).text == "One two."
    assert {event["id"] for _, event in heard.events if isinstance(event, dict)} == {"c1"}


@pytest.mark.parametrize("way", [CHAT, OVER_CHAT], ids=str)
async def test_a_stray_choice_is_not_heard(way: Way) -> None:
    """Neither its words nor its finish belong to the answer."""
    other = {"index": 1}
    stray: list[Step] = [
        chat_event({"content": " no"}, choice=other),
        chat_event({}, "stop", choice=other),
    ]
    script: list[Step] = [Role(), Say("Yes, "), *stray, Say("until six."), Finish(), Done()]
    got, _, _ = await way.turn(script)
    assert got.text == "Yes, until six."
