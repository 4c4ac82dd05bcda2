"""Chat chunks of odd forms, and event streams that are cut or written oddly."""

from __future__ import annotations

import json
from typing import Any

from tests.soak.kinds.kind import CHAT, add, kind
from tests.soak.script import Acts, Answer, Break, Wait

# How the bytes are cut and end.


@kind("byte by byte", streams=True, good=True)
def _bytewise(answer: Answer) -> Acts:
    for byte in b"".join(answer.good()):
        yield bytes([byte])


@kind("all in one packet", streams=True, good=True)
def _together(answer: Answer) -> Acts:
    yield b"".join(answer.good())


@kind("cut anywhere", streams=True, good=True)
def _cut(answer: Answer) -> Acts:
    data = b"".join(answer.good())
    cuts = sorted(answer.rng.randint(0, len(data)) for _ in range(8))
    for start, stop in zip((0, *cuts), (*cuts, len(data)), strict=True):
        if data[start:stop]:
            yield data[start:stop]
            yield Wait(0.02)


def _respelt(name: str, old: bytes, new: bytes, *, good: bool = True) -> None:
    def play(answer: Answer) -> Acts:
        for packet in answer.good():
            yield packet.replace(old, new)

    add(name, play, streams=True, good=good)


_respelt("CRLF", b"\n", b"\r\n")
_respelt("CR", b"\n", b"\r")
_respelt("no blank behind data:", b"data: ", b"data:")
_respelt("many blank lines", b"\n\n", b"\n\n\n\n\n")
_respelt("ids and retries", b"data: ", b"id: 1\nretry: 5\ndata: ")
_respelt("unknown fields", b"data: ", b"flavour: sweet\ndata: ")
_respelt("one line break between frames", b"\n\n", b"\n", good=False)


@kind("a byte order mark", streams=True, good=True)
def _bom(answer: Answer) -> Acts:
    yield b"\xef\xbb\xbf" + b"".join(answer.good())


@kind("blank lines first", streams=True, good=True)
def _blank_first(answer: Answer) -> Acts:
    yield b"\n\n\n"
    yield from answer.good()


@kind("letters of all scripts", good=True)
def _letters(answer: Answer) -> Acts:
    yield answer.open()
    for text in ("é", "ß ", "日本", " 😀", "👩‍👩‍👧", "עברית ", "\u200b"):
        data = answer.speech(answer.words() + answer.also(text))
        middle = len(data) // 2
        yield data[:middle]
        yield data[middle:]
    yield answer.end()


@kind("letters as they are", streams=True, apis=CHAT, good=True)
def _unescaped(answer: Answer) -> Acts:
    yield answer.open()
    text = answer.words() + answer.also("日本 😀 ")
    value = answer.envelope([{"index": 0, "delta": {"content": text}}])
    data = answer.data(json.dumps(value, ensure_ascii=False))
    place = data.index("日".encode()) + 1
    yield data[:place]
    yield Wait(0.1)
    yield data[place:] + answer.end()


BROKEN: dict[str, bytes] = {
    "half a surrogate": b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}',
    "no JSON": b"<html>",
    "half an object": b'{"choices":[{"index":0,"delta":{"con',
    "no UTF-8": b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}',
    "a list": b"[1, 2]",
    "a number": b"42",
    "a string": b'"words"',
    "null": b"null",
    "NaN": b'{"choices":[],"x":NaN}',
    "NULs": b"\x00\x00",
    "deep nesting": b"[" * 3000 + b"]" * 3000,
    "choices that are a string": b'{"choices":"none"}',
    "choices that are an object": b'{"choices":{"0":{}}}',
    "choices of numbers": b'{"choices":[1]}',
    "a delta that is a list": b'{"choices":[{"index":0,"delta":[1]}]}',
    "content that is a number": b'{"choices":[{"index":0,"delta":{"content":7}}]}',
    "content that is an object": b'{"choices":[{"index":0,"delta":{"content":{"a":1}}}]}',
    "calls that are an object": b'{"choices":[{"index":0,"delta":{"tool_calls":{"a":1}}}]}',
    "calls of strings": b'{"choices":[{"index":0,"delta":{"tool_calls":["a"]}}]}',
    "a log line": b"INFO: 127.0.0.1 - 200 OK",
    "an error that is a string": b'{"error":"model runner has unexpectedly stopped"}',
    "an error": b'{"error":{"message":"Gone.","type":"server_error","code":502}}',
    "an error in a choice": b'{"choices":[{"delta":{"content":""},"error":{"code":502}}]}',
    "a comment as data": b": OPENROUTER PROCESSING",
    "another terminator": b"[done]",
    "a start": b"[START]",
}
SPOKEN = {
    "half a surrogate": "\ufffd",
    "no UTF-8": "\ufffd\ufffd",
    "content that is a number": "7",
}
"""Words of these frames that may still be heard."""
for _name, _data in BROKEN.items():

    def _first(answer: Answer, data: bytes = _data, name: str = _name) -> Acts:
        answer.also(SPOKEN.get(name, ""))
        yield answer.data(data)
        yield Wait(0.05)
        yield answer.speech(answer.maybe(3))
        yield answer.end()
        answer.whole = False

    def _amid(answer: Answer, data: bytes = _data, name: str = _name) -> Acts:
        answer.also(SPOKEN.get(name, ""))
        yield answer.open() + answer.say(3)
        yield answer.data(data)
        yield Wait(0.05)
        yield answer.speech(answer.maybe(3))
        yield answer.end()
        answer.whole = False

    def _last(answer: Answer, data: bytes = _data) -> Acts:
        yield b"".join(answer.good()) + answer.data(data)

    add(f"{_name} in a frame, first", _first, streams=True)
    add(f"{_name} in a frame, amid words", _amid, streams=True)
    add(f"{_name} in a frame, behind the end", _last, streams=True, good=True)


# Roles and ids.


def _with_top(name: str, *, good: bool = True, **top: object) -> None:
    """Add a kind whose chunks have these fields, one after another if they are a list."""

    def play(answer: Answer) -> Acts:
        for turn in range(answer.few()):
            odd: dict[str, Any] = {
                key: value[turn % len(value)] if isinstance(value, list) else value
                for key, value in top.items()
            }
            delta = {"role": "assistant"} if turn == 0 else {}
            yield answer.chunk({**delta, "content": answer.words()}, **odd)
        yield answer.end()

    add(name, play, streams=True, apis=CHAT, good=good)


_with_top("changing ids", id=["a", "b", "c"])
_with_top("no ids", id=None)
_with_top("empty ids", id="")
_with_top("ids that are numbers", id=7)
_with_top("changing times", created=[1, 2, 3])
_with_top("times with a fraction", created=1795338000.5)
_with_top("times that are text", created="now")
_with_top("no times", created=None)
_with_top("changing models", model=["a", "b", "c"])
_with_top("no models", model=None)
_with_top("models that are objects", model={"name": "m"})
_with_top("another object", object=["chat.completion", "text_completion", ""])
_with_top("usage in each frame", usage={"prompt_tokens": 1, "completion_tokens": 2})
_with_top("null usage in each frame", usage=None)
_with_top("usage of odd types", usage={"prompt_tokens": "many", "total_tokens": -1, "x": None})
_with_top("usage that is a list", usage=[[1, 2]])
_with_top("enormous usage", usage={"prompt_tokens": 10**30})
_with_top("an error that is null", error=None)
_with_top("an error that is empty", error={})
_with_top("more fields", service_tier="x", system_fingerprint="y", prompt_filter_results=[[]])


def _choices(name: str, change: dict[str, object], *, good: bool = True) -> None:
    """Add a kind whose choices have these fields."""

    def play(answer: Answer) -> Acts:
        yield answer.open()
        for _ in range(answer.few()):
            choice = {"index": 0, "delta": {"content": answer.words()}, "finish_reason": None}
            merged = {key: value for key, value in {**choice, **change}.items() if value != "gone"}
            yield answer.data(answer.envelope([merged]))
        yield answer.end()

    add(name, play, streams=True, apis=CHAT, good=good)


_choices("choices without an index", {"index": "gone"})
_choices("choices without a finish", {"finish_reason": "gone"})
_choices("an empty finish in each frame", {"finish_reason": ""})
_choices("logprobs", {"logprobs": {"content": []}})
_choices("filter results", {"content_filter_results": {"hate": {"filtered": False}}})


@kind("a role in each frame", streams=True, apis=CHAT, good=True)
def _roles(answer: Answer) -> Acts:
    for _ in range(answer.few()):
        yield answer.chunk({"role": "assistant", "content": answer.words()})
    yield answer.end()


for _role in ("", "user", "tool", "model", None, 7):

    @kind(f"the role {_role!r}", streams=True, apis=CHAT, good=True)
    def _odd_role(answer: Answer, role: object = _role) -> Acts:
        for _ in range(answer.few()):
            yield answer.chunk({"role": role, "content": answer.words()})
        yield answer.end()


@kind("no role", streams=True, apis=CHAT, good=True)
def _no_role(answer: Answer) -> Acts:
    for _ in range(answer.few()):
        yield answer.say()
    yield answer.end()


# Where the words are.


@kind("another choice", streams=True, apis=CHAT, good=True)
def _other_choice(answer: Answer) -> Acts:
    yield answer.open()
    for _ in range(answer.few()):
        yield answer.say()
        yield answer.chunk({"content": answer.never()}, index=1)
    yield answer.chunk({}, "stop", index=1)
    yield answer.end()


@kind("two choices in a frame", streams=True, apis=CHAT, good=True)
def _two_choices(answer: Answer) -> Acts:
    yield answer.open()
    for _ in range(answer.few()):
        both = [
            {"index": 0, "delta": {"content": answer.words()}},
            {"index": 1, "delta": {"content": answer.never()}},
        ]
        yield answer.data(answer.envelope(both))
    yield answer.end()


@kind("content as parts", streams=True, apis=CHAT, good=True)
def _parts(answer: Answer) -> Acts:
    yield answer.open()
    for _ in range(answer.few()):
        yield answer.chunk({"content": [{"type": "text", "text": answer.words()}]})
    yield answer.end()


@kind("content as parts, thoughts among them", streams=True, apis=CHAT, good=True)
def _thinking_parts(answer: Answer) -> Acts:
    yield answer.open()
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": answer.never()}]}
    yield answer.chunk({"content": [thought]})
    yield answer.chunk({"content": [{"type": "reference", "reference_ids": [1]}]})
    yield answer.chunk({"content": [thought, {"type": "text", "text": answer.words()}]})
    yield answer.chunk({"content": answer.words(2)})
    yield answer.end()


for _part in ("words", {"type": "text", "text": None}, {"text": "x"}, 7, None, {"type": "image"}):

    @kind(f"the part {json.dumps(_part)}", streams=True, apis=CHAT)
    def _odd_part(answer: Answer, part: object = _part) -> Acts:
        yield answer.open() + answer.say(2)
        answer.also("words" if part == "words" else "x")
        yield answer.chunk({"content": [part]})
        yield answer.speech(answer.maybe(2))
        yield answer.end()
        answer.whole = False


@kind("words in a message", streams=True, apis=CHAT, good=True)
def _message(answer: Answer) -> Acts:
    message = {"role": "assistant", "content": answer.words(4)}
    yield answer.data(answer.envelope([{"index": 0, "message": message, "finish_reason": "stop"}]))
    answer.end()
    yield b"data: [DONE]\n\n"


@kind("the whole answer again in a message", streams=True, apis=CHAT, good=True)
def _again(answer: Answer) -> Acts:
    yield answer.open() + answer.say(5)
    message = {"role": "assistant", "content": answer.text}
    yield answer.data(answer.envelope([{"index": 0, "message": message, "finish_reason": "stop"}]))
    yield answer.end()


@kind("words in the field of an older API", streams=True, apis=CHAT)
def _older(answer: Answer) -> Acts:
    for _ in range(3):
        yield answer.data({"choices": [{"index": 0, "text": answer.maybe()}]})
    yield answer.chunk({}, "stop")


@kind("a refusal in words", streams=True)
def _declines(answer: Answer) -> Acts:
    from local.scripted.script import Decline

    yield answer.open()
    yield answer.render(Decline(answer.words(3)))
    yield answer.end()


@kind("audio", streams=True, apis=CHAT)
def _audio(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.chunk({"audio": {"id": "a", "transcript": "x"}, "content": answer.words()})
    yield answer.say(2) + answer.end()


@kind("a frame of 1 MB", streams=True, apis=CHAT, good=True)
def _large(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.chunk({"content": answer.words()}, padding="x" * 1_000_000)
    yield answer.end()


@kind("a frame that does not end", streams=True, apis=CHAT)
def _endless(answer: Answer) -> Acts:
    yield answer.open() + answer.say(3)
    yield b'data: {"choices": [{"index": 0, "delta": {"content": "'
    for _ in range(40):
        yield b"\\u0020" * 500
        yield Wait(0.5)
    yield Break.HOLD


@kind("a thousand words at once", streams=True, good=True)
def _many(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.say(1000)
    yield answer.end()
