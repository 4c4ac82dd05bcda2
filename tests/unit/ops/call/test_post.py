"""An answer as it arrives: each text once, however its bytes are cut."""

from __future__ import annotations

import pytest

from ops.call.post import PostReader
from ops.doctor.wire import Piece
from tests.support.patients import called, response, speech


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("responses", [False, True])
def test_each_text_is_heard_once_however_its_bytes_are_cut(size: int, responses: bool) -> None:
    """A text is reported once, with the time of its last byte."""
    frames = response() if responses else speech(["Yes, ", "hello."])
    body = b"".join(frame for frame in frames if isinstance(frame, bytes))
    heard: list[tuple[str, float]] = []
    reader = PostReader(lambda text, at_ms: heard.append((text, at_ms)), lambda: None)
    reader.responses = responses
    pieces: list[Piece] = []
    for at in range(0, len(body), size):
        pieces.append(Piece(float(at), body[at : at + size]))
        reader.takes(pieces)
    assert "".join(text for text, _ in heard) == ("Yes." if responses else "Yes, hello.")
    times = [at_ms for _, at_ms in heard]
    assert times == sorted(times)


def test_a_call_counts_as_soon_as_it_begins() -> None:
    """The platform's patience ends with words or with the first piece of a call."""
    began: list[bool] = []
    reader = PostReader(lambda _text, _at_ms: None, lambda: began.append(True))
    opening, call, *_ = (frame for frame in called() if isinstance(frame, bytes))
    reader.takes([Piece(1, opening)])
    assert not began
    reader.takes([Piece(1, opening), Piece(2, call)])
    assert began
