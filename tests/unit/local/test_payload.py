"""Requests become events of payload format 2.0, and answers become HTTP responses."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from local.payload import STREAMED_TYPE, clock, event_of, response_of
from local.runtime_api import Answer, Body, Cut, Failure

NULS = b"\0" * 8
REFERENCE = Path(__file__).parents[2] / "reference"


def event(
    target: str = "/v1/chat?a=1",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    method: str = "POST",
) -> dict[str, Any]:
    sent = [("host", "127.0.0.1:80"), *(headers or [])]
    return event_of(method, target, sent, body, "10.0.0.9", domain="127.0.0.1:8080")


async def answered(*chunks: bytes, streamed: bool = True, cut: bool = False) -> Answer:
    body = Body()
    for chunk in chunks:
        await body.put(chunk)
    await body.close(cut=cut)
    return Answer(streamed, STREAMED_TYPE if streamed else "application/json", body)


async def read(answer: Answer | Failure, mode: str) -> tuple[int, dict[str, str], bytes]:
    response = await response_of(answer, mode)
    body = b"".join([chunk async for chunk in response.body])
    return response.status, dict(response.headers), body


def test_an_event_has_every_part_of_the_recorded_one() -> None:
    """Our events have the structure of the reference event, key by key."""
    recorded = json.loads((REFERENCE / "url-event.json").read_text("utf-8"))
    made = event("/sse?n=3", [("accept", "text/event-stream")], method="GET")
    assert made.keys() == recorded.keys()
    assert made["requestContext"].keys() == recorded["requestContext"].keys()
    assert made["requestContext"]["http"].keys() == recorded["requestContext"]["http"].keys()
    assert made["headers"].keys() == recorded["headers"].keys()
    assert made["queryStringParameters"] == recorded["queryStringParameters"]


def test_path_and_query_are_passed_as_sent() -> None:
    """Path and raw query stay encoded; parameters are decoded, repeated ones joined."""
    made = event("/v1/a%20b%2Fc?x=1&x=2&y=%C3%A4&z")
    assert made["rawPath"] == made["requestContext"]["http"]["path"] == "/v1/a%20b%2Fc"
    assert made["rawQueryString"] == "x=1&x=2&y=%C3%A4&z"
    assert made["queryStringParameters"] == {"x": "1,2", "y": "ä", "z": ""}
    assert "queryStringParameters" not in event("/v1")


def test_headers_are_joined_and_cookies_apart() -> None:
    """Repeated headers are joined by commas; cookies stand in a list of their own."""
    made = event(headers=[("accept", "a"), ("accept", "b"), ("cookie", "k=1; l=2")])
    assert made["headers"]["accept"] == "a,b"
    assert made["cookies"] == ["k=1", "l=2"]
    assert "cookie" not in made["headers"]


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", '{"a":"ä"}'.encode(), True),
        ("application/json; charset=utf-8", b"{}", True),
        ("application/vnd.api+json", b"{}", True),
        ("text/plain", b"hello", True),
        ("application/xml", b"<a/>", True),
        ("application/javascript", b"1", True),
        ("application/octet-stream", b"hello", False),
        ("application/x-www-form-urlencoded", b"a=1", False),
        ("", b"hello", False),
        ("text/plain", b"\xff\xfe", False),
    ],
)
def test_bodies_are_text_or_base64_by_their_type(
    content_type: str, body: bytes, text: bool
) -> None:
    """Text types travel as text; all others, and text that is not valid, as base64."""
    made = event(headers=[("content-type", content_type)] if content_type else [], body=body)
    assert made["isBase64Encoded"] is not text
    sent = made["body"].encode() if text else base64.b64decode(made["body"])
    assert sent == body


def test_no_body_is_no_key() -> None:
    """Without a body the event has none."""
    assert "body" not in event(method="GET")


def test_both_arrival_times_agree() -> None:
    """The arrival's text and its milliseconds are the same moment."""
    assert clock(1795338000.5) == {
        "time": "22/Nov/2026:09:00:00 +0000",
        "timeEpoch": 1795338000500,
    }


@pytest.mark.parametrize("name", ["ok", "mid", "emptywrite"])
async def test_recorded_preludes_are_understood(name: str) -> None:
    """The prelude that AWS's own runtime sends gives status, headers and one cookie each."""
    recorded = (REFERENCE / f"{name}.bin").read_bytes()
    prelude = recorded[recorded.index(b'{"statusCode"') :].partition(b"\r\n")[0]
    response = await response_of(await answered(prelude, NULS, b"data"), "RESPONSE_STREAM")
    fields = json.loads(prelude)
    assert response.status == fields["statusCode"]
    assert [v for k, v in response.headers if k == "set-cookie"] == fields.get("cookies", [])
    for header, value in fields.get("headers", {}).items():
        assert (header.lower(), value) in response.headers


@pytest.mark.parametrize("split", range(1, 40, 3))
async def test_a_prelude_may_arrive_in_pieces(split: int) -> None:
    """Wherever the stream is split, status and body come out whole."""
    whole = b'{"statusCode":201}' + NULS + b"body\0\0 more"
    answer = await answered(whole[:split], whole[split:])
    status, headers, body = await read(answer, "RESPONSE_STREAM")
    assert (status, body) == (201, b"body\0\0 more")
    assert headers["content-type"] == "application/octet-stream"


async def test_hop_by_hop_headers_are_not_the_functions() -> None:
    """Connection headers in a prelude do not reach the caller."""
    prelude = b'{"statusCode":200,"headers":{"Connection":"close","Transfer-Encoding":"x","A":"1"}}'
    _, headers, _ = await read(await answered(prelude + NULS), "RESPONSE_STREAM")
    assert headers.keys() == {"a", "content-type"}


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b'{"statusCode":200}'],
        [b"no json" + NULS],
        [b"[1]" + NULS],
        [b'{"statusCode":"x"}' + NULS],
        [b'{"statusCode":999}' + NULS],
        [b'{"statusCode":200,"headers":[1]}' + NULS],
    ],
)
async def test_a_malformed_prelude_is_a_bad_gateway(chunks: list[bytes]) -> None:
    """A missing or malformed prelude gives 502 instead of a broken response."""
    status, _, body = await read(await answered(*chunks), "RESPONSE_STREAM")
    assert (status, body) == (502, b"Internal Server Error")


async def test_a_cut_before_the_prelude_is_a_bad_gateway() -> None:
    """An answer that breaks off within its prelude gives 502."""
    answer = await answered(b'{"statusCode"', cut=True)
    assert (await response_of(answer, "RESPONSE_STREAM")).status == 502


async def test_a_cut_after_the_prelude_reaches_the_reader() -> None:
    """An answer that breaks off later raises `Cut` after its last piece."""
    response = await response_of(
        await answered(b'{"statusCode":200}', NULS, b"half", cut=True), "RESPONSE_STREAM"
    )
    pieces = aiter(response.body)
    assert await anext(pieces) == b"half"
    with pytest.raises(Cut):
        await anext(pieces)


async def test_a_streaming_url_does_not_interpret_a_dict() -> None:
    """On RESPONSE_STREAM a buffered dict is the body, with status 200, as on Lambda."""
    payload = b'{"statusCode": 404, "body": "no"}'
    answer = await answered(payload, streamed=False)
    status, headers, body = await read(answer, "RESPONSE_STREAM")
    assert (status, body) == (200, payload)
    assert headers["content-type"] == "application/json"


async def test_a_buffered_url_interprets_a_dict() -> None:
    """On BUFFERED a dict with a status is an HTTP response."""
    fields = {
        "statusCode": 418,
        "headers": {"X-A": "1", "Content-Length": "4"},
        "cookies": ["a=1; Path=/", "b=2"],
        "body": base64.b64encode(b"\xff").decode(),
        "isBase64Encoded": True,
    }
    answer = await answered(json.dumps(fields).encode(), streamed=False)
    response = await response_of(answer, "BUFFERED")
    assert response.status == 418
    assert ("x-a", "1") in response.headers
    assert [v for k, v in response.headers if k == "content-length"] == ["1"]
    assert [v for k, v in response.headers if k == "set-cookie"] == ["a=1; Path=/", "b=2"]
    assert [chunk async for chunk in response.body] == [b"\xff"]


@pytest.mark.parametrize(
    ("payload", "body"),
    [(b'{"a": 1}', b'{"a": 1}'), (b'"hello"', b"hello"), (b"null", b"null"), (b"[1]", b"[1]")],
)
async def test_a_buffered_url_takes_other_json_as_the_body(payload: bytes, body: bytes) -> None:
    """On BUFFERED anything without a status is itself the body, with status 200."""
    answer = await answered(payload, streamed=False)
    status, headers, got = await read(answer, "BUFFERED")
    assert (status, got, headers["content-type"]) == (200, body, "application/json")


@pytest.mark.parametrize(
    "payload", [b"no json", b'{"statusCode": "x"}', b'{"statusCode": 200, "headers": 5}']
)
async def test_a_buffered_url_refuses_a_malformed_response(payload: bytes) -> None:
    """On BUFFERED a malformed response gives 502."""
    status, _, _ = await read(await answered(payload, streamed=False), "BUFFERED")
    assert status == 502


@pytest.mark.parametrize("mode", ["BUFFERED", "RESPONSE_STREAM"])
async def test_a_failure_is_a_bad_gateway(mode: str) -> None:
    """A function that failed gives a 502 without the reason, which is kept for the log."""
    response = await response_of(Failure("Runtime.ExitError", "secret"), mode)
    assert response.status == 502
    assert [chunk async for chunk in response.body] == [b"Internal Server Error"]
    assert response.failure == Failure("Runtime.ExitError", "secret")
