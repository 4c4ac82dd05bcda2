"""Faults of a connection, and of HTTP on it."""

from __future__ import annotations

import gzip

from tests.soak.kinds.kind import HEALTHY, kind
from tests.soak.script import EVENT_STREAM, JSON, Acts, Answer, Break, Head, Naked, Reply, Wait

OK = b"HTTP/1.1 200 OK\r\n"
STREAM = b"content-type: text/event-stream\r\n"
CHUNKED = OK + STREAM + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return a chunk in HTTP's chunked coding."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _whole(answer: Answer) -> bytes:
    """Return all bytes of a good answer, streamed or not."""
    return b"".join(answer.good()) or answer.wire.whole()


# Before the head.


@kind("no connection", connects=False, redials=True, heals=True)
def _refused(answer: Answer) -> Acts:
    yield Break.RESET


@kind("reset at once", redials=True, heals=True)
def _reset_at_once(answer: Answer) -> Acts:
    yield Break.RESET


@kind("closed at once", redials=True, heals=True)
def _closed_at_once(answer: Answer) -> Acts:
    yield Break.CLOSE


@kind("reset after a while", redials=True, heals=True)
def _reset_late(answer: Answer) -> Acts:
    yield Wait(answer.rng.uniform(0.1, 2))
    yield Break.RESET


@kind("silent before the head", slow=True, heals=True)
def _hold(answer: Answer) -> Acts:
    yield Break.HOLD


@kind("closed in the head", redials=True, heals=True)
def _half_head(answer: Answer) -> Acts:
    yield Naked(CHUNKED[: answer.rng.randint(1, len(CHUNKED) - 3)])
    yield Break.CLOSE


@kind("silent in the head", slow=True, heals=True)
def _silent_head(answer: Answer) -> Acts:
    yield Naked(CHUNKED[:30])
    yield Break.HOLD


@kind("endless headers", slow=True, heals=True)
def _endless_headers(answer: Answer) -> Acts:
    yield Naked(OK)
    for number in range(200):
        yield Naked(f"x-{number}: {'y' * 60}\r\n".encode())
        yield Wait(0.25)
    yield Break.RESET


@kind("an endless header", slow=True, heals=True)
def _endless_header(answer: Answer) -> Acts:
    yield Naked(OK + b"x-policy: " + b"y" * 200_000)
    yield Break.HOLD


@kind("a head byte by byte", streams=True, good=True)
def _slow_head(answer: Answer) -> Acts:
    for position in range(len(CHUNKED)):
        yield Naked(CHUNKED[position : position + 1])
    yield Naked(chunk(_whole(answer)) + b"0\r\n\r\n")


for _name, _bytes in {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"<html>Hello</html>\r\n\r\n",
    "HTTP/2 unasked": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS on a plain port": b"\x15\x03\x01\x00\x02\x02\x46",
    "a header without a colon": OK + b"nonsense\r\n\r\n",
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "a negative length": OK + b"content-length: -1\r\n\r\n",
    "a length that is no number": OK + b"content-length: many\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 OK 200\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"zz\r\nhello\r\n",
    "a negative chunk size": CHUNKED + b"-5\r\nhello\r\n",
    "an enormous chunk": CHUNKED + b"ffffffffffffffffff\r\nhello\r\n",
    "null bytes": b"\x00" * 64,
    "NULs in a header": OK + b"x-a: b\x00c\r\n\r\n",
    "an unknown coding": OK + STREAM + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n",
}.items():

    @kind(_name, heals=True)
    def _odd(answer: Answer, data: bytes = _bytes) -> Acts:
        yield Naked(data)
        yield Wait(0.05)
        yield Break.CLOSE


# After the head.


@kind("reset after the head", heals=True, errs=True)
def _reset_after_head(answer: Answer) -> Acts:
    yield Head()
    yield Break.RESET


@kind("closed after the head", heals=True, errs=True)
def _closed_after_head(answer: Answer) -> Acts:
    yield Head()
    yield Break.CLOSE


@kind("ended after the head", streams=True, heals=True, errs=True)
def _ended_after_head(answer: Answer) -> Acts:
    yield Head()


@kind("silent after the head", slow=True, heals=True)
def _silent_after_head(answer: Answer) -> Acts:
    yield Head(200, EVENT_STREAM if answer.streamed else JSON)
    yield Break.HOLD


@kind("reset after the role", streams=True, heals=True, errs=True)
def _reset_after_role(answer: Answer) -> Acts:
    yield answer.open()
    yield Break.RESET


for _break in Break:

    @kind(f"{_break.value} amid words", streams=True)
    def _amid(answer: Answer, how: Break = _break) -> Acts:
        yield answer.open()
        yield answer.say(answer.few())
        yield Wait(answer.rng.uniform(0, 2))
        yield answer.say(answer.few())
        yield how

    @kind(f"{_break.value} behind the finish", streams=True, good=True)
    def _behind_finish(answer: Answer, how: Break = _break) -> Acts:
        *packets, end = answer.good()
        yield b"".join(packets)
        if answer.chat:
            yield end.removesuffix(b"data: [DONE]\n\n")
        else:
            yield end
        yield how


@kind("ended amid words", streams=True)
def _ended(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.say(answer.few())


@kind("reset amid a frame", streams=True)
def _half_frame(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.say(answer.few())
    frame = answer.speech(answer.also("and th"))
    yield frame[: answer.rng.randint(1, 40)]
    yield Break.RESET


@kind("a malformed chunk amid words", streams=True)
def _malformed(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.say(answer.few())
    yield Wait(answer.rng.uniform(0, 1))
    yield Naked(answer.rng.choice((b"zz\r\n", b"-1\r\nx\r\n", b"3\r\nabcdef\r\n", b"\x00\x01\r\n")))
    yield Wait(0.2)
    yield Break.CLOSE


@kind("a malformed chunk beside words", streams=True)
def _malformed_beside(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.say(answer.few())
    yield Wait(0.1)
    frames = answer.speech(answer.maybe(3))
    yield Naked(chunk(frames) + b"zz\r\n")
    yield Break.HOLD


@kind("a body that is too short", streams=False, heals=True, errs=True)
def _short(answer: Answer) -> Acts:
    body = _whole(answer)
    answer.unsaid()
    yield Naked(
        OK + f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    )
    yield Naked(body[: len(body) // 2])
    yield Break.CLOSE


@kind("a body that ends with its connection", good=True)
def _unlengthened(answer: Answer) -> Acts:
    stream = STREAM if answer.streamed else b"content-type: application/json\r\n"
    yield Naked(b"HTTP/1.0 200 OK\r\n" + stream + b"\r\n" + _whole(answer))
    yield Break.CLOSE


@kind("chunk extensions and trailers", streams=True, good=True)
def _extensions(answer: Answer) -> Acts:
    yield Naked(CHUNKED)
    for packet in answer.good():
        yield Naked(f"{len(packet):x};name=value\r\n".encode() + packet + b"\r\n")
    yield Naked(b"0\r\nx-sum: 1\r\n\r\n")


@kind("gzip unasked", streams=True, good=True)
def _gzip(answer: Answer) -> Acts:
    body = gzip.compress(_whole(answer))
    yield Reply(200, body, {**EVENT_STREAM, "content-encoding": "gzip"})


@kind("gzip untold", heals=True)
def _gzip_untold(answer: Answer) -> Acts:
    body = gzip.compress(_whole(answer))
    answer.unsaid()
    yield Reply(200, body, EVENT_STREAM)


for _name, _headers in {
    "an event stream said to be text": {"content-type": "text/plain"},
    "an event stream said to be JSON": JSON,
    "an event stream without a type": {},
    "many headers": {**EVENT_STREAM, **{f"x-{n}": "y" * 500 for n in range(60)}},
    "cookies": {**EVENT_STREAM, "set-cookie": "a=b; Path=/"},
    "a connection that is to close": {**EVENT_STREAM, "connection": "close"},
}.items():

    @kind(_name, streams=True, good=True)
    def _typed(answer: Answer, headers: dict[str, str] = _headers) -> Acts:
        yield Head(200, headers)
        yield from answer.good()


@kind("JSON in place of a stream", streams=True, good=True)
def _json(answer: Answer) -> Acts:
    answer.wire = answer.wire.unstreamed()
    yield from HEALTHY.play(answer)


@kind("bytes behind the answer")
def _behind(answer: Answer) -> Acts:
    body = _whole(answer)
    length = f"content-length: {len(body)}\r\n\r\n".encode()
    kind_of = STREAM if answer.streamed else b"content-type: application/json\r\n"
    yield Naked(OK + kind_of + length + body + b"HTTP/1.1 500 No\r\n\r\n")
    yield Break.CLOSE
