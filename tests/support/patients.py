"""Servers for the doctor: a healthy one, and others with one fault each.

Written by hand over sockets in threads, because they do what no HTTP library does. A server is a
function from a request to an answer; `serve` puts it on a port. Run one to look at it:

    python3 -m tests.support.patients "no [DONE]"
    make doctor URL=http://127.0.0.1:… KEY=a-caller-key
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

KEY = "a-caller-key"
SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
PIECES = 40
PACE_S = 0.004


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw or b"{}")
        return body

    @property
    def long(self) -> bool:
        return b"story" in self.raw

    @property
    def is_turn(self) -> bool:
        return self.method == "POST"


@dataclass(frozen=True)
class Answer:
    """`pieces` are bytes to send and seconds to wait; without a length they go out in chunks.

    Status 0 hangs, -1 closes the connection at once.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: SSE)
    pieces: Iterable[bytes | float] = ()
    whole: bool = True
    """False: the connection ends without the last chunk."""

    @property
    def body(self) -> bytes:
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))

    def changed(self, change: Callable[[bytes], bytes]) -> Answer:
        """Return the answer with another body, in one piece."""
        return replace(self, pieces=(change(self.body),))


Server = Callable[[Request], Answer]


def refusal(status: int, code: str, message: str = "No.") -> Answer:
    """Return an error in OpenAI's shape."""
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return Answer(status, JSON, (json.dumps({"error": error}).encode(),))


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """Return one frame of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**head, "choices": [choice], **more}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
OPENING = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")


def speech(words: list[str], pace_s: float = 0.0) -> tuple[bytes | float, ...]:
    """Return the pieces of a good chat completion."""
    spoken: list[bytes | float] = []
    for word in words:
        spoken += [chunk({"content": word}), pace_s]
    return (OPENING, *spoken, STOP, DONE)


def called() -> tuple[bytes | float, ...]:
    """Return the pieces of a good tool call."""
    function = {"name": "look_up_order", "arguments": '{"number": 42}'}
    part = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return (OPENING, chunk({"tool_calls": [part]}), chunk({}, "tool_calls"), DONE)


def response() -> tuple[bytes | float, ...]:
    """Return the pieces of a good response, as short as possible."""
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_text.delta", "delta": "Yes."},
        {"type": "response.completed", "response": {"id": "resp_1"}},
    ]
    frames = [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': n})}\n\n".encode()
        for n, event in enumerate(events)
    ]
    return (*frames, DONE)


def healthy(request: Request) -> Answer:
    """Answer as a voice platform needs it."""
    path = request.path.rstrip("/")
    if path.endswith("/health"):
        return Answer(200, JSON, (b'{"status":"ok"}',))
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return refusal(401, "invalid_api_key")
    if path.endswith("/responses"):
        return Answer(pieces=response())
    if request.json.get("tools") and request.json["messages"][-1]["role"] == "user":
        return Answer(pieces=called())
    if request.long:
        return Answer(pieces=speech(["word "] * PIECES, PACE_S))
    return Answer(pieces=speech(["Yes, ", "hello."]))


@contextmanager
def serve(server: Server, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a free port; yield the address, without a path."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(
                threading.Thread(target=_attend, args=(connection, server, tls, stopped))
            )
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join()


def _attend(
    connection: socket.socket, server: Server, tls: ssl.SSLContext | None, stopped: threading.Event
) -> None:
    connection.settimeout(20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError, ValueError), ExitStack() as stack:
        stack.enter_context(connection)
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection, server_side=True))
        answer = server(_read(connection))
        if answer.status == 0:
            # Hangs: sends nothing until the client or the test leaves.
            while not stopped.wait(0.01):
                pass
            return
        if answer.status < 0:
            return
        lines = [f"HTTP/1.1 {answer.status} Patient"]
        headers = dict(answer.headers)
        chunked = "content-length" not in headers
        if chunked:
            headers["transfer-encoding"] = "chunked"
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for piece in answer.pieces:
            if isinstance(piece, float):
                stopped.wait(piece)
            elif piece:
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if answer.whole and chunked:
            connection.sendall(b"0\r\n\r\n")


def _read(connection: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
        if not data[:1].isalpha():
            raise ValueError("no HTTP")
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    parts = [body]
    missing = int(headers.get("content-length", 0)) - len(body)
    while missing > 0:
        parts.append(_more(connection))
        missing -= len(parts[-1])
    method, path, _ = first.split(" ")
    return Request(method, path, headers, b"".join(parts))


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


# -- faults


def turns_only(change: Callable[[Request, Answer], Answer]) -> Server:
    """Return a server whose turns are changed and which still checks keys."""

    def server(request: Request) -> Answer:
        answer = healthy(request)
        return change(request, answer) if request.is_turn and answer.status == 200 else answer

    return server


def always(answer: Answer) -> Server:
    """Return a server whose turns all get the same answer."""
    return turns_only(lambda _, __: answer)


def body(change: Callable[[bytes], bytes]) -> Server:
    """Return a server whose turns have another body."""
    return turns_only(lambda _, answer: answer.changed(change))


def exact_paths(request: Request) -> Answer:
    if request.path.count("/chat/completions") > 1:
        return Answer(404, {"content-type": "text/html"}, (b"<h1>Not Found</h1>",))
    return healthy(request)


def late_lump(hold_s: float) -> Server:
    """Return a server that collects its answers, so that longer ones come later."""

    def change(request: Request, answer: Answer) -> Answer:
        return replace(answer, pieces=(hold_s if request.long else 0.0, answer.body))

    return turns_only(change)


def open_door(request: Request) -> Answer:
    return healthy(replace(request, headers={**request.headers, "authorization": f"Bearer {KEY}"}))


def sorry(request: Request, _: Answer) -> Answer:
    """Apologise, and give the reason to clients that ask for errors, as the function does."""
    if request.headers.get("x-completions-on-failure") == "error":
        return refusal(502, "upstream_auth", "The upstream refuses our key.")
    words = "Sorry, something went wrong on my side, could you say that again, please?"
    return Answer(pieces=speech([words]))


def withheld(request: Request, _: Answer) -> Answer:
    """Do the same for an answer that a model's filter withheld."""
    if request.headers.get("x-completions-on-failure") == "error":
        return refusal(400, "content_filter", "The response was filtered.")
    words = "I'm sorry, I can't help with that here, is there anything else I can do for you?"
    return Answer(pieces=speech([words]))


def hung_after_words(_: Request, __: Answer) -> Answer:
    return Answer(pieces=(OPENING, chunk({"content": "Well, "}), 1.5), whole=False)


def small_door(request: Request) -> Answer:
    if len(request.raw) > 1_000_000:
        return Answer(413, {"content-type": "text/html"}, (b"<h1>Too Large</h1>",))
    return healthy(request)


def _everywhere(answer: Answer) -> Server:
    return lambda _: answer


PRELUDE = b'{"statusCode":200,"headers":{}}' + b"\0" * 8 + OPENING
DICT = json.dumps({"statusCode": 200, "headers": {}, "body": "data: {}", "isBase64Encoded": False})
FORBIDDEN = Answer(
    403,
    {**JSON, "x-amzn-errortype": "AccessDeniedException"},
    (b'{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: ..."}',),
)
COMPLETION = json.dumps({"choices": [{"message": {"content": "Yes."}}]}).encode()

BROKEN: Mapping[str, tuple[Server, str]] = {
    "401 always": (_everywhere(refusal(401, "invalid_api_key")), "caller_key"),
    "a login in front": (
        _everywhere(Answer(401, {"content-type": "text/html"}, (b"Login",))),
        "foreign_401",
    ),
    "hangs": (lambda _: Answer(0), "timeout"),
    "hangs in turns": (always(Answer(0)), "timeout"),
    "hangs after words": (turns_only(hung_after_words), "timeout"),
    "prelude as text": (_everywhere(Answer(200, JSON, (PRELUDE,))), "prelude_as_text"),
    "dict as text": (_everywhere(Answer(200, JSON, (DICT.encode(),))), "dict_as_text"),
    "forbidden by AWS": (_everywhere(FORBIDDEN), "aws_forbidden"),
    "forbidden by others": (_everywhere(Answer(403, {}, (b"blocked",))), "foreign_403"),
    "moved": (_everywhere(Answer(301, {"location": "https://elsewhere"})), "redirected"),
    "crashes": (_everywhere(Answer(502, {}, (b"Internal Server Error",))), "crashed"),
    "no upstream key": (always(refusal(503, "key_unavailable")), "key_unavailable"),
    "a wrong upstream key": (always(refusal(502, "upstream_auth")), "upstream_auth"),
    "an unknown model": (always(refusal(404, "model_not_found")), "model_unknown"),
    "no model": (always(refusal(502, "upstream_unavailable")), "model_down"),
    "a model that is late": (always(refusal(504, "upstream_timeout")), "model_slow"),
    "a model's rate limit": (always(refusal(429, "rate_limit_exceeded")), "model_limited"),
    "a bug": (always(refusal(500, "internal_error")), "bug"),
    "throttled": (
        always(Answer(429, {"x-amzn-errortype": "TooManyRequestsException"}, (b"{}",))),
        "throttled",
    ),
    "a bad gateway": (always(Answer(502, {}, (b"<h1>Bad Gateway</h1>",))), "proxy_error"),
    "refuses what it does not know": (always(refusal(400, "unknown_parameter")), "bad_request"),
    "exact paths": (exact_paths, "path_unknown"),
    "an open door": (open_door, "open_door"),
    "a small door": (small_door, "too_large"),
    "a web page": (always(Answer(200, {"content-type": "text/html"}, (b"<html>",))), "wrong_type"),
    "ignores stream": (always(Answer(200, JSON, (COMPLETION,))), "wrong_type"),
    "empty stream": (always(Answer()), "empty_stream"),
    "role only": (always(Answer(pieces=(OPENING, STOP, DONE))), "silent"),
    "buffer words only": (always(Answer(pieces=speech(["One moment... "]))), "silent"),
    "no [DONE]": (body(lambda data: data.replace(DONE, b"")), "no_terminator"),
    "more behind [DONE]": (body(lambda data: data + STOP), "after_terminator"),
    "no last blank line": (body(lambda data: data.rstrip()), "unfinished_event"),
    "no role": (body(lambda data: data.replace(OPENING, b"")), "no_role"),
    "a role on each frame": (
        body(lambda data: data.replace(b'"delta": {"con', b'"delta": {"role": "assistant", "con')),
        "odd_role",
    ),
    "no finish": (body(lambda data: data.replace(STOP, b"")), "no_finish"),
    "words behind the finish": (
        body(lambda data: data.replace(STOP, STOP + chunk({"content": "And?"}))),
        "after_finish",
    ),
    "two ids": (
        body(lambda data: data.replace(STOP, STOP.replace(b"chatcmpl-1", b"chatcmpl-2"))),
        "changing_identity",
    ),
    "bad JSON": (body(lambda data: data.replace(b'"choices": [', b'"choices": ')), "bad_json"),
    "glued JSON": (
        body(lambda data: data.replace(b"\n\ndata: {", b"{", 1)),
        "glued_json",
    ),
    "log lines in the stream": (body(lambda data: b"INFO started\n\n" + data), "not_sse"),
    "another API": (
        always(Answer(pieces=(b'data: {"text": "Yes."}\n\n', DONE))),
        "not_the_dialect",
    ),
    "thinks aloud": (
        always(Answer(pieces=speech(["<think>Hm.</think>", "Yes."]))),
        "thinks_aloud",
    ),
    "an error in the stream": (
        always(Answer(pieces=(OPENING, b'data: {"error": {"message": "Gone."}}\n\n', DONE))),
        "error_frame",
    ),
    "broken calls": (
        body(lambda data: data.replace(b'\\"number\\": 42}', b"")),
        "bad_call",
    ),
    "cut": (
        turns_only(lambda _, answer: replace(answer, pieces=tuple(answer.pieces)[:2], whole=False)),
        "cut",
    ),
    "dies": (always(Answer(-1)), "closed"),
    "apologises": (turns_only(sorry), "failure_sentence"),
    "declines": (turns_only(withheld), "declined"),
}
"""Each broken server, and the cause that the doctor must name."""

if __name__ == "__main__":
    name = " ".join(sys.argv[1:])
    if name not in BROKEN:
        sys.exit("\n".join(["which of these faults?", *BROKEN]))
    with serve(BROKEN[name][0]) as served_url, suppress(KeyboardInterrupt):
        print(f"make doctor URL={served_url} KEY={KEY}", flush=True)
        threading.Event().wait()
