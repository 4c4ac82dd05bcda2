"""Event streams: however packets are cut, the events and their bytes are the same."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from completions.sse import DONE, EVENT_LIMIT_BYTES, Decoder, ServerSentEvent, encode

BOM = b"\xef\xbb\xbf"
LINE_ENDS = [b"\n", b"\r\n", b"\r"]

values = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20
).map(str.encode)
lines = st.one_of(
    values.map(lambda value: b"data: " + value),
    values.map(lambda value: b"data:" + value),
    values.map(lambda value: b": " + value),
    values.map(lambda value: b"event: " + value),
    st.sampled_from([b"data", b"id: 7", b"retry: 10", b"nonsense", b":"]),
)
event_lines = st.lists(lines, min_size=1, max_size=4)
anything = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"data: x", b"data:", b": c", b" ", BOM, b"\x00\xff"]),
    max_size=30,
).map(b"".join)


def _decode(chunks: Iterable[bytes]) -> list[ServerSentEvent]:
    decoder = Decoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush()


def _cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    inside = sorted(place for place in set(places) if 0 < place < len(stream))
    return [stream[a:b] for a, b in zip([0, *inside], [*inside, len(stream)], strict=True)]


def _bytewise(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def _facts(events: Iterable[ServerSentEvent]) -> list[tuple[bytes, bytes]]:
    return [(event.data, event.event) for event in events]


OBJECT = b'data: {"a":1}'
unblanked = st.lists(
    st.sampled_from(
        [OBJECT, b"data: {", b'data: "a":1}', b"data: [DONE]", b"event: e", b": c", b"data: x", b""]
    ),
    max_size=8,
)


def _by_the_book(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's own algorithm, line by line; events without data are not dispatched.

    WHATWG HTML, 9.2.6. One thing differs: what the end of the stream cuts off is an event here.
    """
    dispatched = []
    data: list[bytes] = []
    kind = b""
    stream = stream.removeprefix(BOM)
    for line in [*stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        if not line:
            if any(data) or len(data) > 1:
                dispatched.append((b"\n".join(data), kind))
            data, kind = [], b""
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return dispatched


@settings(deadline=None)  # a busy machine is not a failure
@given(anything, st.lists(st.integers(0, 80)))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10])
@example(b"data: a\r\rdata: b\r\r", [8, 9])
@example(b"data: a\n\r\ndata: b\n\n\n", [8, 9])
def test_packets_do_not_matter(stream: bytes, places: list[int]) -> None:
    """Any split of any stream gives the same events, byte for byte."""
    whole = _decode([stream])
    assert _decode(_cut(stream, places)) == whole
    assert _decode(_bytewise(stream)) == whole


@settings(deadline=None)  # a busy machine is not a failure
@given(anything)
def test_events_follow_the_standard(stream: bytes) -> None:
    """Their contents are what the standard's algorithm dispatches."""
    said = [fact for fact in _facts(_decode([stream])) if fact[0]]
    assert said == [fact for fact in _by_the_book(stream) if fact[0]]


@settings(deadline=None)  # a busy machine is not a failure
@given(anything)
def test_bytes_are_kept(stream: bytes) -> None:
    """The relayed events are the stream; only a BOM is dropped, and the last line ends are ours."""
    relayed = b"".join(event.raw for event in _decode([stream]))
    assert relayed.rstrip(b"\r\n") == stream.removeprefix(BOM).rstrip(b"\r\n")


@settings(deadline=None)  # a busy machine is not a failure
@given(st.lists(event_lines, max_size=4), st.sampled_from(LINE_ENDS), st.booleans(), st.booleans())
def test_events_are_read(
    written: list[list[bytes]], line_end: bytes, has_bom: bool, is_whole: bool
) -> None:
    """Each event comes out once, for every line end, with a BOM, and without a last blank line."""
    text = [line_end.join(lines) + line_end * 2 for lines in written]
    stream = (BOM if has_bom else b"") + b"".join(text)
    if not is_whole:
        stream = stream.removesuffix(line_end)
    events = _decode([stream])
    assert len(events) == len(written)
    for event, lines in zip(events, written, strict=True):
        data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data")]
        kinds = [line[6:].removeprefix(b" ") for line in lines if line.startswith(b"event")]
        assert event.data == b"\n".join(data)
        assert event.event == (kinds[-1] if kinds else b"")


def test_an_event_is_emitted_at_once() -> None:
    """The blank line completes it, without a wait for the next packet."""
    for line_end in (b"\n", b"\r\n"):
        stream = b"data: a" + line_end * 2
        assert Decoder().feed(stream) == [ServerSentEvent(stream, b"a")]


def test_several_events_in_one_packet() -> None:
    """A packet with two and a half events yields two."""
    decoder = Decoder()
    assert [event.data for event in decoder.feed(b"data: a\n\ndata: b\n\ndata:")] == [b"a", b"b"]
    assert [event.data for event in decoder.feed(b" c\n\n")] == [b"c"]
    assert decoder.flush() == []


def test_data_lines_are_joined() -> None:
    """Several data lines are one text joined by line ends; one space after the colon is removed."""
    (event,) = Decoder().feed(b"data:  a\nid: 1\ndata:b\ndata\n\n")
    assert event.data == b" a\nb\n"


@pytest.mark.parametrize("line_end", LINE_ENDS)
def test_events_may_end_without_a_blank_line(line_end: bytes) -> None:
    """JSON ends with its object, so the next line of data is another event's."""
    lines = [b"event: a", OBJECT, b": c", b"event: b", OBJECT, OBJECT, b"data: [DONE]"]
    expected = [(b'{"a":1}', b"a"), (b'{"a":1}', b"b"), (b'{"a":1}', b""), (b"[DONE]", b"")]
    stream = line_end.join(lines)
    for end in (b"", line_end, line_end * 2):
        events = _decode([stream + end])
        assert _facts(events) == expected
        assert all(event.raw.endswith(b"\n\n") for event in events[:3])


def test_an_event_without_a_blank_line_is_emitted_with_the_next() -> None:
    """No word waits for the end of the answer."""
    decoder = Decoder()
    assert decoder.feed(OBJECT + b"\n") == []
    for _ in range(3):
        (event,) = decoder.feed(OBJECT + b"\n")
        assert event.data == b'{"a":1}'
    (event,) = decoder.flush()
    assert event.data == b'{"a":1}'


def test_json_on_several_lines_is_one_event() -> None:
    """A line that ends within its object continues in the next one, as in the standard."""
    lines = [b'data: {"a": {}', b'data: , "b": {"c": 1}', b"data: }"]
    (event,) = _decode(_bytewise(b"\n".join(lines) + b"\n\n"))
    assert event.data == b'{"a": {}\n, "b": {"c": 1}\n}'


@settings(deadline=None)  # a busy machine is not a failure
@given(unblanked, st.sampled_from(LINE_ENDS), st.lists(st.integers(0, 80)))
def test_packets_do_not_matter_without_blank_lines(
    written: list[bytes], line_end: bytes, places: list[int]
) -> None:
    """However packets are cut, lines of whole objects are split in the same way."""
    stream = line_end.join(written) + line_end
    whole = _decode([stream])
    assert _decode(_cut(stream, places)) == whole
    assert _decode(_bytewise(stream)) == whole


@pytest.mark.parametrize(
    ("start", "piece", "size"),
    [
        (b"data: {\n" + b"data: 1,\n" * 2, b"data: 1,\n" * 100, 300_007),
        (b"data: x", b"y" * 1000, 1_000_001),
    ],
    ids=["lines", "one line"],
)
def test_a_frame_in_many_pieces_is_joined_once(start: bytes, piece: bytes, size: int) -> None:
    """The work grows with its bytes, not with their square: no piece is copied again."""
    decoder = Decoder()
    assert decoder.feed(start) == []
    rest = decoder._rest
    for _ in range(1000):
        assert decoder.feed(piece) == []
        assert decoder._rest is rest
    (event,) = decoder.feed(b"\n\n")
    assert len(event.data) == size


def test_an_error_may_be_a_field() -> None:
    """llama.cpp's servers write `error:` where others write an event of that name."""
    (event,) = _decode([b'error: {"code":500}\n\n'])
    assert (event.data, event.event) == (b'{"code":500}', b"error")


def test_unicode_line_separators_end_no_line() -> None:
    """Only CR and LF end a line: U+2028, form feed and similar characters are the model's text."""
    text = "a\u2028b\u0085c\x0bd\x0ce\x1cf".encode()
    (event,) = Decoder().feed(b"event: x\ndata: " + text + b"\n\n")
    assert (event.data, event.event) == (text, b"x")


def test_a_comment_has_no_data() -> None:
    """A keep-alive is an event without data, so it can be relayed or dropped."""
    assert Decoder().feed(b": ping\n\n") == [ServerSentEvent(b": ping\n\n", b"")]


def test_an_endless_event_is_given_up() -> None:
    """An upstream that never ends an event does not fill the memory."""
    decoder = Decoder()
    assert decoder.feed(b"x" * EVENT_LIMIT_BYTES) == []
    with pytest.raises(ValueError, match=str(EVENT_LIMIT_BYTES)):
        decoder.feed(b"x")


def test_a_long_stream_is_not_an_endless_event() -> None:
    """The limit applies to one event, not to the stream."""
    decoder = Decoder()
    event = encode(b"x" * (EVENT_LIMIT_BYTES // 4))
    assert sum(len(decoder.feed(event)) for _ in range(6)) == 6


@settings(deadline=None)  # a busy machine is not a failure
@given(values, st.sampled_from(["", "response.completed"]))
def test_a_written_event_can_be_read(data: bytes, event: str) -> None:
    """It is read as one event with the same data and type."""
    (read,) = Decoder().feed(encode(data, event))
    assert (read.data, read.event) == (data, event.encode())


def test_the_terminator_is_openais() -> None:
    """It is, byte for byte, what every OpenAI client waits for."""
    assert DONE == b"data: [DONE]\n\n"
