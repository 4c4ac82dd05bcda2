"""The strict client, byte by byte; each broken rule: tests/integration/doctor/test_servers.py."""

from __future__ import annotations

import pytest

from completions.speech.phrases import PHRASES
from ops.doctor import events, strict_reader
from ops.doctor.wire import Piece
from tests.support.patients import called, chunk, response, speech


def pieces(data: bytes, size: int) -> list[Piece]:
    return [Piece(float(at), data[at : at + size]) for at in range(0, len(data), size)]


def joined(parts: tuple[bytes | float, ...]) -> bytes:
    return b"".join(part for part in parts if isinstance(part, bytes))


GOOD = {
    "chat": (joined(speech(["Hello ", "there."])), False, "Hello there."),
    "call": (joined(called()), False, ""),
    "responses": (joined(response()), True, "Yes."),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_good_answer_is_good_however_it_is_cut(name: str, size: int) -> None:
    """A good answer is good however it is cut into pieces."""
    data, is_response, text = GOOD[name]
    heard = strict_reader.hear(events.read(pieces(data, size)), responses=is_response)
    assert heard.troubles == []
    assert heard.text == text
    assert heard.first_words_ms is not None
    assert [call.name for call in heard.calls] == (["look_up_order"] if name == "call" else [])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_line_end_of_the_standard_is_known(end: bytes) -> None:
    """Comments, ids and all three line ends are understood."""
    data = b": hello\n\n" + b"id: 1\ndata: [DONE]\n\n"
    stream = events.read(pieces(data.replace(b"\n", end), 3))
    assert [event.data for event in stream.events] == [b"[DONE]"]
    assert (stream.odd, stream.rest) == (b"", b"")


def test_an_event_has_the_time_of_its_last_byte() -> None:
    """An event in two pieces has the time of the second."""
    stream = events.read([Piece(1, b"data: a\n\nda"), Piece(5, b"ta: b\n"), Piece(9, b"\n")])
    assert [(event.at_ms, event.data) for event in stream.events] == [(1, b"a"), (9, b"b")]


def heard(*texts: str) -> strict_reader.Heard:
    return strict_reader.Heard(words=[(float(n), text) for n, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("texts", "model"),
    [
        (("One moment... ", "Yes."), ["Yes."]),
        (("One moment... ", "Let me see... ", "Yes."), ["Yes."]),
        (("Well", "... ", "yes."), ["Well", "... ", "yes."]),
        (("Yes... no... ",), ["Yes... no... "]),
        (("Yes.",), ["Yes."]),
    ],
)
def test_buffer_words_are_told_from_the_models(texts: tuple[str, ...], model: list[str]) -> None:
    """Only opening pieces that end in three dots and a space count as buffer words."""
    assert [text for _, text in heard(*texts).model_words] == model


def test_dots_are_not_words() -> None:
    """First words need a letter or a digit."""
    assert heard("", "...", " ", "7").first_words_ms == 3
    assert heard("...").first_words_ms is None


def test_our_own_sentences_are_known() -> None:
    """The doctor's sentences are those of the deployment."""
    english = PHRASES["en"]
    assert english.failure == strict_reader.FAILURE_SENTENCE
    assert english.declined == strict_reader.DECLINED_SENTENCE
    assert (english.bridge, english.closing) == strict_reader.CUT_SENTENCES
    for words in english.buffer:
        assert heard(words).model_words == []


def test_a_call_in_pieces_is_put_together() -> None:
    """Arguments from several events are joined into one JSON text."""
    function = {"name": "f", "arguments": '{"a"'}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    first = {"index": 0, "id": "c", "type": "function", "function": function}
    data = b"".join(
        [
            chunk({"role": "assistant", "tool_calls": [first]}),
            chunk({"tool_calls": [rest]}),
            chunk({}, "tool_calls"),
            b"data: [DONE]\n\n",
        ]
    )
    answer = strict_reader.hear(events.read(pieces(data, 50)), responses=False)
    assert answer.calls == [strict_reader.Call("c", "f", '{"a": 1}')]
    assert answer.troubles == []


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ((b'"sequence_number": 1', b'"sequence_number": 7'), "changing_identity"),
        ((b"resp_1", b"resp_2"), "changing_identity"),
        ((b"response.created", b"response.queued"), "no_role"),
        ((b"response.completed", b"response.failed"), "no_finish"),
        ((b"event: response.output_text.delta\n", b""), "not_the_dialect"),
    ],
)
def test_a_broken_response_is_known(change: tuple[bytes, bytes], cause: str) -> None:
    """Each broken rule of the Responses API is reported."""
    times = 1 if change[0] == b"resp_1" else -1
    data = joined(response()).replace(*change, times)
    answer = strict_reader.hear(events.read(pieces(data, 1000)), responses=True)
    assert [trouble.cause for trouble in answer.troubles] == [cause]
