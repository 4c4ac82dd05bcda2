"""A buffered answer, posted whole or turned into an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_streaming.asgi import Application, Receive, Scope, Send, converse
from lambda_streaming.buffered_response import BufferedResponse
from lambda_streaming.runtime_api import RuntimeApi, RuntimeApiError
from tests.support.runtime_api import FakeRuntimeApi, Post
from tests.unit.streaming.test_context import INVOCATION

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"X-A", b"caf\xe9"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
}


def readable(response: dict[str, Any]) -> Any:
    """Return all that Mangum's finishing would be given, readable."""
    headers = [[part.decode("latin-1") for part in pair] for pair in response["headers"]]
    return {**response, "headers": headers, "body": response["body"].decode()}


async def answer(api: FakeRuntimeApi, application: Application, finish: Any = readable) -> Post:
    """The answer that `application` gives."""
    response = BufferedResponse(RuntimeApi(api.address), INVOCATION, finish)
    await converse(application, {}, b"", response, request_id="r-1", remaining_s=60)
    return await api.post()


def saying(*parts: bytes, error: Exception | None = None) -> Application:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if error:
            raise error
        await send({"type": "http.response.body"})

    return application


async def test_an_answer_is_posted_once_and_whole(api: FakeRuntimeApi) -> None:
    """Status, headers, each cookie and the joined body are posted together."""
    post = await answer(api, saying(b"a", b"b"))
    assert post.path == "/invocation/r-1/response"
    assert post.header("content-type") == "application/json"
    assert json.loads(await post.read()) == {
        "status": 200,
        "headers": [["x-a", "café"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
        "body": "ab",
    }


async def test_half_an_answer_is_a_500(api: FakeRuntimeApi) -> None:
    """A failure in mid-answer becomes a 500 without internals, since nothing was sent yet."""
    post = await answer(api, saying(b"half", error=ValueError("the key is sk-1")))
    told = json.loads(await post.read())
    assert (told["status"], told["headers"]) == (500, [["content-type", "application/json"]])
    assert "log of request r-1" in json.loads(told["body"])["message"]
    assert "sk-1" not in told["body"]


async def test_no_answer_is_a_500(api: FakeRuntimeApi) -> None:
    """An application that fails before its response gets a 500, as in a stream."""

    async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError

    told = json.loads(await (await answer(api, application)).read())
    assert told["status"] == 500
    assert json.loads(told["body"])["message"] == "Internal Server Error"


@pytest.mark.parametrize("result", [ValueError("bad"), object()])
async def test_an_answer_that_cannot_be_finished_is_an_error(
    api: FakeRuntimeApi, result: object, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of Mangum's, or a result that is not JSON, goes to the platform and the log."""

    def finish(_response: dict[str, Any]) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    post = await answer(api, saying(b"x"), finish)
    assert post.path == "/invocation/r-1/error"
    expected = "ValueError" if isinstance(result, Exception) else "Runtime.MarshalError"
    assert json.loads(await post.read())["errorType"] == expected
    assert "cannot be made ready" in caplog.text


async def test_a_broken_environment_is_fatal(api: FakeRuntimeApi) -> None:
    """A 5xx to the post is raised to the loop, as for a streamed answer."""
    api.statuses["response"] = 500
    with pytest.raises(RuntimeApiError):
        await answer(api, saying(b"x"))
