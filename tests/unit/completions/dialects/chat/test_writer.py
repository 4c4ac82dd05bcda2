"""Our own chat completion frames, alone and between an upstream's: strict clients read them all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.dialects import chat
from completions.dialects.chat.writer import ChatWriter
from completions.dialects.deltas import Call, Chunk
from completions.dialects.request import ParsedRequest
from completions.errors import UpstreamUnavailable
from completions.sse import ServerSentEvent
from tests.support import rules

THEIRS = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "theirs"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def writer(model: str = "asked", *, wants_usage: bool = False) -> ChatWriter:
    """For one stream."""
    return ChatWriter(ParsedRequest({}, stream=True, model=model, wants_usage=wants_usage))


def theirs(delta: Any, finish: str | None = None, source: int = 0, **envelope: Any) -> Chunk:
    """A frame of an upstream's."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = json.dumps({**THEIRS, "choices": [choice], **envelope}).encode()
    frame = ServerSentEvent(b"data: " + data + b"\n\n", data)
    return Chunk(frame, chat.read(frame), source=source)


def test_an_upstreams_stream_passes_to_the_byte() -> None:
    """Role, words and finish are relayed as they came; only the terminator is ours."""
    out = writer()
    frames = [theirs({"role": "assistant"}), theirs({"content": "Hi"}), theirs({}, "stop")]
    data = b"".join(map(out.relay, frames)) + out.end("stop", USAGE)
    assert data == b"".join(f.sse.raw for f in frames if f.sse) + b"data: [DONE]\n\n"
    assert rules.check(data).text == "Hi"


def test_words_of_ours_alone_are_a_stream() -> None:
    """With an id, a time and the model that the caller asked for, and the role once."""
    out = writer()
    data = out.buffer_words("Hm... ") + out.reasoning("Hm.") + out.text("Hi.")
    data += out.call(Call("c0", "f", "{}")) + out.call(Call("c1", "g", '{"a":1}'))
    data += out.end("tool_calls", None)
    spoken = rules.check(data)
    assert (spoken.text, spoken.reasoning) == ("Hm... Hi.", "Hm.")
    assert spoken.calls == [("f", "{}"), ("g", '{"a":1}')]
    assert {chunk["model"] for chunk in rules.frames_of(data)} == {"asked"}
    assert len({chunk["id"] for chunk in rules.frames_of(data)}) == 1


def test_who_writes_first_names_the_stream() -> None:
    """After words of ours an upstream's frames are re-written, and the role is not said again."""
    out = writer()
    data = out.buffer_words("Hm... ") + out.relay(theirs({"role": "assistant", "content": ""}))
    data += out.relay(theirs({"content": "Hi"})) + out.relay(theirs({}, "stop"))
    data += out.end("stop", None)
    spoken = rules.check(data)
    assert spoken.text == "Hm... Hi"
    assert b"theirs" not in data


def test_words_of_ours_behind_an_upstreams_go_by_its_name() -> None:
    """One id, one time, one model."""
    out = writer()
    data = out.relay(theirs({"role": "assistant", "content": "It is"}))
    data += out.text("... Sorry.") + out.relay(theirs({"content": " so."}, source=1, id="other"))
    data += out.end("length", None)
    assert rules.check(data).text == "It is... Sorry. so."
    assert {chunk["id"] for chunk in rules.frames_of(data)} == {"chatcmpl-1"}


@pytest.mark.parametrize("missing", ["id", "created", "model"])
def test_an_upstream_without_a_name_gets_one(missing: str) -> None:
    """Strict clients want all three; empty ones are none."""
    for empty in (None, ""):
        out = writer()
        envelope: dict[str, Any] = {missing: empty}
        data = out.relay(theirs({"content": "Hi"}, **envelope)) + out.end("stop", None)
        assert rules.check(data).text == "Hi"
        assert all(chunk[missing] for chunk in rules.frames_of(data))


@pytest.mark.parametrize(("said", "ended"), [("stop", "length"), ("tool_calls", "stop"), ("", "x")])
def test_the_finish_is_the_turns(said: str, ended: str) -> None:
    """An upstream's own frame only where it says the same."""
    out = writer()
    data = out.relay(theirs({"role": "assistant", "content": "Hi"}))
    data += out.relay(theirs({}, said or None)) + out.end(ended, None)
    reasons = [c["choices"][0]["finish_reason"] for c in rules.frames_of(data)]
    assert [reason for reason in reasons if reason] == [ended]


def test_words_in_the_finish_frame_are_not_lost() -> None:
    """Some upstreams say the last word and the end at once."""
    out = writer()
    data = out.relay(theirs({"role": "assistant", "content": "Hi"}))
    data += out.relay(theirs({"content": " there."}, "stop")) + out.end("stop", None)
    assert rules.check(data).text == "Hi there."


@pytest.mark.parametrize("wants", [True, False])
@pytest.mark.parametrize("beside_finish", [True, False])
def test_usage_comes_last_and_only_when_wanted(wants: bool, beside_finish: bool) -> None:
    """In a chunk of its own without choices, wherever the upstream put it."""
    out = writer(wants_usage=wants)
    data = out.relay(theirs({"role": "assistant", "content": "Hi"}))
    if beside_finish:
        data += out.relay(theirs({}, "stop", usage=USAGE))
    else:
        data += out.relay(theirs({}, "stop"))
        bare = json.dumps({**THEIRS, "choices": [], "usage": USAGE}).encode()
        frame = ServerSentEvent(b"data: " + bare + b"\n\n", bare)
        data += out.relay(Chunk(frame, chat.read(frame)))
    data += out.end("stop", USAGE)
    assert rules.check(data).usage == (USAGE if wants else None)


def test_a_stream_ends_once() -> None:
    """Whoever ends it second writes nothing, whichever end it was."""
    for first, second in (("end", "failure"), ("failure", "end"), ("end", "end")):
        out = writer()
        data = out.text("Hi.")
        for kind in (first, second):
            if kind == "end":
                data += out.end("stop", None)
            else:
                data += out.failure(UpstreamUnavailable("Gone."))
        assert data.count(b"[DONE]") == 1
        assert rules.check(data).text == "Hi."


def test_an_upstreams_terminator_is_not_relayed() -> None:
    """Ours follows the finish; two would confuse a client that keeps the connection."""
    out = writer()
    frame = ServerSentEvent(b"data: [DONE]\n\n", b"[DONE]")
    assert out.relay(Chunk(frame, chat.read(frame))) == b""


async def test_a_failure_raises_in_the_official_sdk() -> None:
    """After words were heard, too."""
    from openai import APIError

    out = writer()
    data = out.text("It is ") + out.failure(UpstreamUnavailable("The upstream broke."))
    spoken = rules.check(data)
    assert spoken.error is not None
    assert spoken.error["code"] == "upstream_unavailable"
    with pytest.raises(APIError, match="The upstream broke"):
        await rules.sdk_final(data)


steps = st.one_of(
    st.tuples(st.sampled_from(["text", "buffer_words", "reasoning"]), st.text(max_size=4)),
    st.tuples(st.just("call"), st.sampled_from(["f", "g"])),
    st.tuples(st.just("their text"), st.text(max_size=4)),
    st.tuples(st.just("their role"), st.just("")),
    st.tuples(st.just("their reasoning"), st.text(max_size=4)),
    st.tuples(st.just("their finish"), st.sampled_from(["stop", "length"])),
)


@given(st.lists(steps, max_size=12), st.booleans())
def test_any_mixture_is_a_stream(mixture: list[tuple[str, str]], wants_usage: bool) -> None:
    """Whoever says what in whatever order: every word once, in order, by one name."""
    out = writer(wants_usage=wants_usage)
    data, words, thoughts = b"", "", ""
    calls: list[tuple[str, str]] = []
    for source, (kind, text) in enumerate(mixture):
        match kind:
            case "text" | "buffer_words":
                data += getattr(out, kind)(text)
                words += text
            case "reasoning":
                data += out.reasoning(text)
                thoughts += text
            case "call":
                data += out.call(Call(f"c{len(calls)}", text, "{}"))
                calls.append((text, "{}"))
            case "their text":
                data += out.relay(theirs({"content": text}, source=source % 2))
                words += text
            case "their role":
                # An upstream says its role at most once, before anything else.
                if not data:
                    data += out.relay(theirs({"role": "assistant", "content": ""}))
            case "their reasoning":
                data += out.relay(theirs({"reasoning_content": text}, source=source % 2))
                thoughts += text
            case "their finish":
                data += out.relay(theirs({}, text, source=source % 2))
    finish = "tool_calls" if calls else "stop"
    data += out.end(finish, USAGE)
    spoken = rules.check(data)
    assert (spoken.text, spoken.reasoning, spoken.calls) == (words, thoughts, calls)
    assert (spoken.finish, spoken.usage) == (finish, USAGE if wants_usage else None)
