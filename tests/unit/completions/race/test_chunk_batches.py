"""What a batch of an answer shows: begun, refused, spoken or failed."""

from __future__ import annotations

import pytest

from completions.dialects.deltas import CallPart, Chunk, Delta, Failure, Reasoning, Refusal, Text
from completions.errors import UpstreamRefused, UpstreamUnavailable
from completions.race import chunk_batches
from completions.sse import ServerSentEvent

REFUSED = UpstreamRefused("No.", status=400)


def _batch(*deltas: Delta) -> list[Chunk]:
    return [Chunk(None, (delta,), True, 0) for delta in deltas]


def test_a_refusal_counts_only_before_the_answer() -> None:
    """After a word it is a cut."""
    assert chunk_batches.beginning(_batch()) == (False, None)
    assert chunk_batches.beginning(_batch(Failure(REFUSED), Text("a"))) == (False, REFUSED)
    assert chunk_batches.beginning(_batch(Reasoning("a"), Failure(REFUSED))) == (True, None)


@pytest.mark.parametrize(
    ("delta", "spoken", "text"),
    [
        (Text("a"), True, True),
        (Text("{}"), False, True),
        (Text(" "), False, False),
        (Refusal("No."), True, True),
        (Reasoning("Hm."), False, False),
        (CallPart(0, "c", "f", ""), True, True),
    ],
    ids=str,
)
def test_words_and_calls_speak(delta: Delta, spoken: bool, text: bool) -> None:
    """A word or a call does; where more than words may come, any text does."""
    assert chunk_batches.speaks(_batch(delta), words_only=True) is spoken
    assert chunk_batches.speaks(_batch(delta), words_only=False) is text


def test_a_failure_is_found_anywhere_in_a_batch() -> None:
    """A batch without one has no failure."""
    gone = UpstreamUnavailable("Gone.")
    assert chunk_batches.failure(_batch(Text("a"), Failure(gone), Text("b"))) is gone
    assert chunk_batches.failure(_batch(Text("a"))) is None


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (b'{"model": "m"}', "m"),
        (b'{"response": {"model": "m"}}', "m"),
        (b'{"model": 7}', ""),
        (b"[]", ""),
        (b"no", ""),
    ],
)
def test_the_model_that_an_answer_names(data: bytes, model: str) -> None:
    """A value that is not a text is ignored."""
    assert chunk_batches.model_in(ServerSentEvent(b"", data)) == model
