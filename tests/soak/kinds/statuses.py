"""Error statuses: all of them, with bodies of every shape, and `Retry-After`."""

from __future__ import annotations

import json

from tests.soak.kinds.kind import HEALTHY, Script, add, kind
from tests.soak.script import JSON, Acts, Answer, Break, Head, Naked, Reply, Wait

HTML = {"content-type": "text/html"}
PAGE = b"<!doctype html><html><body><h1>Bad gateway</h1></body></html>"


def error(message: str = "No.", **more: object) -> bytes:
    """Return OpenAI's error object."""
    whole = {"message": message, "type": "server_error", "param": None, "code": None, **more}
    return json.dumps({"error": whole}).encode()


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "an object": (error(), JSON),
    "a list": (b"[" + error() + b"]", JSON),
    "a bare message": (b'{"message": "body.x: property is unsupported"}', JSON),
    "details": (b'{"detail": [{"loc": ["body", "x"], "type": "extra_forbidden"}]}', JSON),
    "a detail": (b'{"detail": "Not now."}', JSON),
    "a string": (b'"overloaded"', JSON),
    "an error that is a string": (b'{"error": "overloaded"}', JSON),
    "an error that is null": (b'{"error": null}', JSON),
    "an error that is a list": (b'{"error": [1, 2]}', JSON),
    "fields of other types": (error(code=503, type=[], param={"a": 1}), JSON),
    "an error in an error": (error("Provider returned error", metadata={"raw": "{}"}), JSON),
    "half an object": (error()[:30], JSON),
    "nothing": (b"", JSON),
    "a page": (PAGE, HTML),
    "a page said to be JSON": (PAGE, JSON),
    "text": (b"upstream connect error or disconnect/reset before headers", {}),
    "no UTF-8": (b'{"error": {"message": "\xff\xfe"}}', JSON),
    "a surrogate": (b'{"error": {"message": "\\ud83d"}}', JSON),
    "300 KB": (error("x" * 300_000), JSON),
    "a number": (b"42", JSON),
    "deep nesting": (b"[" * 3000 + b"]" * 3000, JSON),
    "an event stream": (b"data: " + error() + b"\n\ndata: [DONE]\n\n", {}),
}
TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 529)
REFUSALS = (400, 401, 402, 403, 404, 405, 406, 410, 413, 415, 418, 422, 431, 451)
NO_ANSWERS = (201, 204, 205, 206, 300, 301, 302, 304, 307, 308, 600, 999)
ASKED_WAITS = ("0", "1", "0.2", "-5", "soon", "99999", "Wed, 21 Oct 2026 07:28:00 GMT", "1e400")


def _body(answer: Answer) -> tuple[bytes, dict[str, str]]:
    return answer.rng.choice(list(BODIES.values()))


def _status(status: int, headers: dict[str, str] | None = None) -> Script:
    def play(answer: Answer) -> Acts:
        body, named = _body(answer)
        if status in {204, 304}:
            body = b""
        yield Wait(answer.rng.choice((0.0, 0.01, 0.3)))
        yield Reply(status, body, {**named, **(headers or {})})

    return play


for _code in TRANSIENT:
    # Only these are known to be temporary.
    passes = _code in {429, 500, 502, 503, 529}
    add(f"status {_code}", _status(_code), heals=passes, errs=passes, refuses=_code in {409, 425})
for _code in REFUSALS:
    add(f"status {_code}", _status(_code), refuses=True)
for _code in NO_ANSWERS:
    add(f"status {_code}", _status(_code), refuses=True)
for _asked in ASKED_WAITS:
    for _code in (429, 503):
        # A wait longer than any budget need not be observed.
        add(
            f"status {_code}, retry after {_asked}",
            _status(_code, {"retry-after": _asked}),
            errs=True,
            heals=_asked not in {"99999", "1e400"},
        )
for _name, (_data, _headers) in BODIES.items():

    def _refused(answer: Answer, data: bytes = _data, headers: dict[str, str] = _headers) -> Acts:
        yield Reply(answer.rng.choice((400, 422, 429, 500, 503)), data, headers)

    add(f"a refusal: {_name}", _refused, refuses=True)

for _field in ("temperature", "max_tokens", "tools", "stream_options", "prompt_cache_key", "model"):

    def _blames(answer: Answer, field: str = _field) -> Acts:
        if field in answer.body:
            refusal = error(f"Unsupported parameter: '{field}'", param=field, code="unsupported")
            yield Reply(400, refusal)
        else:
            yield from HEALTHY.play(answer)

    add(f"a refusal of {_field}", _blames, refuses=True)


@kind("a refusal that names nothing", refuses=True)
def _nameless(answer: Answer) -> Acts:
    yield Reply(400, error("invalid params, invalid chat setting (2013)"))


@kind("a context that is too long", refuses=True)
def _too_long(answer: Answer) -> Acts:
    yield Reply(400, error("Too long.", code="context_length_exceeded", param="messages"))


@kind("a content filter", refuses=True)
def _filtered(answer: Answer) -> Acts:
    yield Reply(400, error("Filtered.", code="content_filter", param="prompt"))


@kind("no such model", refuses=True)
def _no_model(answer: Answer) -> Acts:
    yield Reply(404, error("The model does not exist.", code="model_not_found"))


@kind("no such path, a page", refuses=True)
def _no_path(answer: Answer) -> Acts:
    yield Reply(404, PAGE, HTML)


@kind("a page with status 200", heals=True, errs=True)
def _page(answer: Answer) -> Acts:
    yield Reply(200, PAGE, HTML)


@kind("an error with status 200", heals=True, errs=True)
def _kind_error(answer: Answer) -> Acts:
    yield Reply(200, error(code="server_error"))


@kind("an empty body with status 200", heals=True, errs=True)
def _nothing(answer: Answer) -> Acts:
    yield Reply(200)


@kind("a refusal that never ends", slow=True, heals=True)
def _endless_refusal(answer: Answer) -> Acts:
    yield Head(500, JSON)
    for _ in range(60):
        yield b'{"error": {"message": "'
        yield Wait(0.5)


@kind("a refusal that is cut", errs=True, heals=True)
def _cut_refusal(answer: Answer) -> Acts:
    yield Head(503, JSON)
    yield b'{"error": {"mess'
    yield Break.RESET


@kind("hints before the answer", good=True)
def _hints(answer: Answer) -> Acts:
    yield Naked(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n")
    yield from HEALTHY.play(answer)


@kind("100 before the answer", good=True)
def _continue(answer: Answer) -> Acts:
    yield Naked(b"HTTP/1.1 100 Continue\r\n\r\n")
    yield from HEALTHY.play(answer)


def _blip(*statuses: int) -> Script:
    def play(answer: Answer) -> Acts:
        status = answer.rng.choice(statuses)
        if status:
            yield Reply(status, error(), {**JSON, "retry-after": "1"} if status == 503 else JSON)
        else:
            yield Break.RESET

    return play


for _seconds in (0.1, 0.4, 0.9):
    add(f"away for {_seconds} s, 503", _blip(503), window_s=_seconds, heals=True, errs=True)
    add(f"away for {_seconds} s", _blip(500, 529), window_s=_seconds, heals=True, errs=True)
    add(f"gone for {_seconds} s", _blip(0), window_s=_seconds, heals=True, redials=True)
