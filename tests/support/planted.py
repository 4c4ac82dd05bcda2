"""Faults between the player and a healthy deployment, which the player must name.

The deployment is the real one, with a model that plays the shipped calls' scripts. A proxy in front
of it passes on every request and spoils the answer in one way. To see the table of
`make call` for each fault, from source or from the built package:

    .venv/bin/python -m tests.support.planted
    .venv/bin/python -m tests.support.planted --code built
"""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ops.call import report
from ops.call.agent import AgentServer
from ops.call.call_file import load
from ops.call.play import Played, play
from ops.call.scripted_deployment import ScriptedDeployments
from ops.pasted_url import Address
from tests.support.patients import Answer, Request, serve

CALLS = Path(__file__).resolve().parents[2] / "calls"
HANGS_S = 30.0

Frames = Iterator[bytes]
Pieces = Iterator[bytes | float]
Change = Callable[[Frames, int], Pieces]
"""From an answer's frames and its request's number to the frames sent instead."""


def _healthy(frames: Frames, _: int) -> Pieces:
    yield from frames


@dataclass(frozen=True)
class Fault:
    """One fault, the shipped call that meets it, and its name in the table."""

    call: str
    name: str = ""
    change: Change = _healthy
    whole: bool = True
    key: str = ""
    """Replaces the caller's key."""


def _slow(frames: Frames, _: int) -> Pieces:
    yield 1.6
    yield from frames


def _says_first(words: str) -> Change:
    def change(frames: Frames, _: int) -> Pieces:
        opening = next(frames)
        yield opening
        yield _like(opening, {"content": words})
        yield from frames

    return change


def _without_calls(frames: Frames, _: int) -> Pieces:
    opening = next(frames)
    yield opening
    yield _like(opening, {"content": "One moment, please."})
    yield _like(opening, {}, "stop")
    yield from (frame for frame in frames if _event(frame) is None)


def _glued(frames: Frames, _: int) -> Pieces:
    yield from (frame.replace(b'... "', b'..."') for frame in frames)


def _in_english(frames: Frames, _: int) -> Pieces:
    for frame in frames:
        delta = _choice(frame).get("delta", {})
        is_ours = "... " in str(delta.get("content"))
        yield _like(frame, {**delta, "content": "One moment please... "}) if is_ours else frame


def _empty(frames: Frames, _: int) -> Pieces:
    opening = next(frames)
    yield opening
    yield _like(opening, {}, "stop")
    yield from (frame for frame in frames if _event(frame) is None)


def _cut(frames: Frames, _: int) -> Pieces:
    yield next(frames)
    yield next(frames)


def _answered_twice(frames: Frames, number: int) -> Pieces:
    if number == 1:
        yield HANGS_S
    words: list[bytes] = []
    for frame in frames:
        choice = _choice(frame)
        if choice.get("finish_reason"):
            yield from words
        if text := choice.get("delta", {}).get("content"):
            words.append(_like(frame, {"content": text}))
        yield frame


def _event(frame: bytes) -> dict[str, Any] | None:
    """Return a chunk; None for a comment, and for the terminator."""
    with suppress(ValueError):
        chunk: dict[str, Any] = json.loads(frame.removeprefix(b"data: "))
        return chunk
    return None


def _choice(frame: bytes) -> dict[str, Any]:
    choices: list[dict[str, Any]] = (_event(frame) or {}).get("choices", [])
    return choices[0] if choices else {}


def _like(frame: bytes, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    """Return another chunk of the same answer."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({**(_event(frame) or {}), "choices": choices}).encode() + b"\n\n"


FAULTS: Mapping[str, Fault] = {
    "slow model": Fault("slow-model", "first_sound_within_ms", _slow),
    "double filler": Fault("slow-model", "buffer_words", _says_first("Just a second... ")),
    "lost tool": Fault("transfers", "calls", _without_calls),
    "farewell twice": Fault("end-call", "said_twice", _says_first("Goodbye, and take care. ")),
    "wrong language": Fault("language", "never_says", _in_english),
    "words glued": Fault("slow-model", "words_glued", _glued),
    "empty turn": Fault("slow-model", "silent", _empty),
    "cut": Fault("end-call", "cut", _cut, whole=False),
    "a re-post answered twice": Fault("slow-model", "said_twice", _answered_twice),
    "a refused key": Fault("end-call", "caller_key", key="another-key"),
}


def plays(deployments: ScriptedDeployments, fault: Fault) -> Played:
    """Play the fault's call, with the fault between the player and the deployment."""
    file = load(CALLS / f"{fault.call}.yaml")
    deployment = deployments.started(file.parameters, fallback=file.has_fallback)
    numbers = count(1)

    def between(request: Request) -> Answer:
        response = _passed_on(request, deployment.server.address)
        headers = {"content-type": response.headers["content-type"]}
        if response.status != 200:
            return Answer(response.status, headers, (response.read(),))
        pieces = fault.change(_frames(response), next(numbers))
        return Answer(200, headers, pieces, whole=fault.whole)

    with serve(between) as url:
        server = AgentServer(Address.parse(url), fault.key or deployment.server.key)
        return play(file, server, deployment)


def _passed_on(request: Request, address: Address) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=HANGS_S)
    # Closed with its response.
    headers = {**request.headers, "connection": "close"}
    connection.request(request.method, request.path, request.raw, headers)
    return connection.getresponse()


def _frames(response: http.client.HTTPResponse) -> Frames:
    frame = b""
    with response:
        for line in response:
            frame += line
            if line == b"\n":
                yield frame
                frame = b""


def _table(code: str) -> Iterator[str]:
    deployments = ScriptedDeployments(("--code", code))
    yield f"{'':<26} {report.HEADING}"
    try:
        for call in dict.fromkeys(fault.call for fault in FAULTS.values()):
            yield f"{'no fault':<26} {report.row(plays(deployments, Fault(call)))}"
        for name, fault in FAULTS.items():
            yield f"{name:<26} {report.row(plays(deployments, fault))}"
    finally:
        deployments.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.planted")
    parser.add_argument("--code", choices=("source", "built"), default="source")
    for row in _table(parser.parse_args().code):
        print(row, flush=True)
