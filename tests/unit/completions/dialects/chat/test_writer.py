"""A Chat Completions stream of an upstream's events and our own, as strict clients read it."""

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

IDENTITY = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "gpt"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def writer(model: str = "asked for", *, wants_usage: bool = False) -> ChatWriter:
    """A writer for one stream."""
    return ChatWriter(ParsedRequest({}, stream=True, model=model, wants_usage=wants_usage))


def received(delta: Any, finish: str | None = None, source: int = 0, **envelope: Any) -> Chunk:
    """A chunk of an upstream's answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = json.dumps({**IDENTITY, "choices": [choice], **envelope}).encode()
    sse = ServerSentEvent(b"data: " + data + b"\n\n", data)
    return Chunk(sse, chat.reader()(sse), source=source)


def test_an_upstreams_stream_is_relayed_byte_for_byte() -> None:
    """Only the terminator is our own."""
    out = writer()
    chunks = [received({"role": "assistant"}), received({"content": "Hi"}), received({}, "stop")]
    data = b"".join(map(out.relay, chunks)) + out.end("stop", USAGE)
    assert data == b"".join(chunk.sse.raw for chunk in chunks if chunk.sse) + b"data: [DONE]\n\n"
    assert rules.check(data).text == "Hi"


def test_our_own_words_alone_make_a_stream() -> None:
    """It has one id, a time, the model that the caller asked for, and the role once."""
    out = writer()
    data = out.buffer_words("Hm... ") + out.reasoning("Hm.") + out.text("Hi.")
    data += out.call(Call("c0", "f", "{}")) + out.call(Call("c1", "g", '{"a":1}'))
    data += out.end("tool_calls", None)
    spoken = rules.check(data)
    assert (spoken.text, spoken.reasoning) == ("Hm... Hi.", "Hm.")
    assert spoken.calls == [("f", "{}"), ("g", '{"a":1}')]
    assert {chunk["model"] for chunk in rules.chunks_of(data)} == {"asked for"}
    assert len({chunk["id"] for chunk in rules.chunks_of(data)}) == 1


def test_the_first_event_gives_the_stream_its_identity() -> None:
    """After words of ours, upstream events are rewritten and the role is not repeated."""
    out = writer()
    data = out.buffer_words("Hm... ") + out.relay(received({"role": "assistant", "content": ""}))
    data += out.relay(received({"content": "Hi"})) + out.relay(received({}, "stop"))
    data += out.end("stop", None)
    spoken = rules.check(data)
    assert spoken.text == "Hm... Hi"
    assert b"gpt" not in data


def test_our_own_words_take_over_an_upstreams_identity() -> None:
    """The stream keeps the first upstream's id, whoever speaks later."""
    out = writer()
    data = out.relay(received({"role": "assistant", "content": "It is"}))
    data += out.text("... Sorry.") + out.relay(received({"content": " so."}, source=1, id="other"))
    data += out.end("length", None)
    assert rules.check(data).text == "It is... Sorry. so."
    assert {chunk["id"] for chunk in rules.chunks_of(data)} == {"chatcmpl-1"}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("changed", [{"id": "other"}, {"created": 8}, {"model": "gpt-x"}])
def test_an_answer_has_one_identity(changed: dict[str, Any], before: bool) -> None:
    """Events that change the id, time or model are rewritten, wherever these fields stand."""

    def event(text: str, **changes: Any) -> Chunk:
        delta = {"content": text} if text else {"role": "assistant", "content": ""}
        choices = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        envelope = {**IDENTITY, **changes}
        data = json.dumps(envelope | choices if before else choices | envelope).encode()
        sse = ServerSentEvent(b"data: " + data + b"\n\n", data)
        return Chunk(sse, chat.reader()(sse))

    out = writer()
    same, other = event("It "), event("is.", **changed)
    data = out.relay(event(""))
    assert same.sse is not None
    assert out.relay(same) == same.sse.raw
    data += same.sse.raw + out.relay(other) + out.end("stop", None)
    assert rules.check(data).text == "It is."
    assert {(c["id"], c["created"], c["model"]) for c in rules.chunks_of(data)} == {
        ("chatcmpl-1", 7, "gpt")
    }


@pytest.mark.parametrize("role", ["", "model", "assistant", None])
def test_the_role_is_named_once(role: Any) -> None:
    """Some upstreams send an empty role, their own word, or the role in each event."""
    out = writer()
    chunks = [received({"role": role, "content": text}) for text in ("Yes, ", "until six.")]
    data = b"".join(map(out.relay, chunks)) + out.end("stop", None)
    assert rules.check(data).text == "Yes, until six."
    roles = [chunk["choices"][0]["delta"].get("role") for chunk in rules.chunks_of(data)]
    assert [one for one in roles if one is not None] == ["assistant"]


def test_an_event_to_rewrite_is_never_relayed() -> None:
    """It is written as the protocol has it; an event that says nothing is dropped."""
    out = writer()
    data = out.relay(received({"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}))
    assert out.relay(received({})) == b""
    data += out.relay(received({"content": " there."}, "")) + out.relay(received({}, "eos"))
    data += out.end("stop", None)
    assert rules.check(data).text == "Hi there."


@pytest.mark.parametrize("missing", ["id", "created", "model"])
def test_an_upstream_without_an_identity_gets_one(missing: str) -> None:
    """Strict clients want all three fields, none of them empty."""
    for empty in (None, ""):
        out = writer()
        envelope: dict[str, Any] = {missing: empty}
        data = out.relay(received({"content": "Hi"}, **envelope)) + out.end("stop", None)
        assert rules.check(data).text == "Hi"
        assert all(chunk[missing] for chunk in rules.chunks_of(data))


@pytest.mark.parametrize(
    ("upstreams", "finish"), [("stop", "length"), ("tool_calls", "stop"), ("", "x")]
)
def test_the_turn_decides_the_finish(upstreams: str, finish: str) -> None:
    """The upstream's event is written only if it has the same finish."""
    out = writer()
    data = out.relay(received({"role": "assistant", "content": "Hi"}))
    data += out.relay(received({}, upstreams or None)) + out.end(finish, None)
    reasons = [c["choices"][0]["finish_reason"] for c in rules.chunks_of(data)]
    assert [reason for reason in reasons if reason] == [finish]


def test_words_beside_the_finish_are_not_lost() -> None:
    """Some upstreams send the last word and the finish in one event."""
    out = writer()
    data = out.relay(received({"role": "assistant", "content": "Hi"}))
    data += out.relay(received({"content": " there."}, "stop")) + out.end("stop", None)
    assert rules.check(data).text == "Hi there."


@pytest.mark.parametrize("wants", [True, False])
@pytest.mark.parametrize("beside_finish", [True, False])
def test_usage_comes_last_and_only_when_wanted(wants: bool, beside_finish: bool) -> None:
    """It has its own event without choices, wherever the upstream put it."""
    out = writer(wants_usage=wants)
    data = out.relay(received({"role": "assistant", "content": "Hi"}))
    if beside_finish:
        data += out.relay(received({}, "stop", usage=USAGE))
    else:
        data += out.relay(received({}, "stop"))
        bare = json.dumps({**IDENTITY, "choices": [], "usage": USAGE}).encode()
        sse = ServerSentEvent(b"data: " + bare + b"\n\n", bare)
        data += out.relay(Chunk(sse, chat.reader()(sse)))
    data += out.end("stop", USAGE)
    assert rules.check(data).usage == (USAGE if wants else None)


def test_a_stream_ends_once() -> None:
    """A second end writes nothing, whichever of them came first."""
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
    """Our own follows the finish; two would confuse a client that keeps the connection."""
    out = writer()
    sse = ServerSentEvent(b"data: [DONE]\n\n", b"[DONE]")
    assert out.relay(Chunk(sse, chat.reader()(sse))) == b""


async def test_a_failure_raises_in_the_official_sdk() -> None:
    """It does so even after words were heard."""
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
    st.tuples(st.just("upstream text"), st.text(max_size=4)),
    st.tuples(st.just("upstream role"), st.just("")),
    st.tuples(st.just("upstream reasoning"), st.text(max_size=4)),
    st.tuples(st.just("upstream finish"), st.sampled_from(["stop", "length"])),
)


@given(st.lists(steps, max_size=12), st.booleans())
def test_any_mixture_makes_a_valid_stream(
    mixture: list[tuple[str, str]], wants_usage: bool
) -> None:
    """Each word is written once, in order, under one identity."""
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
            case "upstream text":
                data += out.relay(received({"content": text}, source=source % 2))
                words += text
            case "upstream role":
                # An upstream sends its role at most once, before anything else.
                if not data:
                    data += out.relay(received({"role": "assistant", "content": ""}))
            case "upstream reasoning":
                data += out.relay(received({"reasoning_content": text}, source=source % 2))
                thoughts += text
            case "upstream finish":
                data += out.relay(received({}, text, source=source % 2))
    finish = "tool_calls" if calls else "stop"
    data += out.end(finish, USAGE)
    spoken = rules.check(data)
    assert (spoken.text, spoken.reasoning, spoken.calls) == (words, thoughts, calls)
    assert (spoken.finish, spoken.usage) == (finish, USAGE if wants_usage else None)
