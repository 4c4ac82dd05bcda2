"""What the log may hold: no conversation content unless switched on, and never a key.

Each text of a request and of the model is a canary, a unique word. None of them may appear in the
log, in the metrics, or in what other libraries log.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx2
import pytest

from completions.responder import Conversation, Event
from completions.settings import Settings
from local.scripted.script import (
    CallPiece,
    Cut,
    Done,
    Fail,
    Finish,
    Raw,
    Reply,
    Role,
    Say,
    Script,
    Think,
    answer,
    calls,
    page,
    refused,
)
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import AUTHORIZED, CALM, calling, deploy, served
from tests.support.logs import Logged
from tests.support.secrets import CALLER_KEY, UPSTREAM_KEY, FakeSecrets, aws_error

CANARY = re.compile(r"canary\w*")
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
PATHS = [CHAT, RESPONSES]


def canaries(kind: str) -> Iterator[str]:
    """Words that appear nowhere else."""
    return (f"canary{kind}{number} sang" for number in itertools.count())


def request(path: str, **more: Any) -> dict[str, Any]:
    """A request with a canary in every text field; names are no canaries."""
    word = canaries("request")
    parameters = {
        "type": "object",
        "description": next(word),
        "properties": {
            next(word): {"type": "string", "enum": [next(word)]},
            "n": {"type": "integer"},
        },
        "required": ["n"],
    }
    tool = {"name": "lookup", "description": next(word), "parameters": parameters}
    body: dict[str, Any] = {
        "model": "gpt-x",
        "stream": True,
        "user": next(word),
        "user_id": next(word),
        "metadata": {next(word): next(word)},
        "prompt_cache_key": next(word),
        "safety_identifier": next(word),
        next(word): next(word),
        "elevenlabs_extra_body": {next(word): next(word), "buffer_words": [next(word)]},
    }
    if path == CHAT:
        call = {"name": "lookup", "arguments": json.dumps({"n": next(word)})}
        body |= {
            "stop": [next(word)],
            "tools": [{"type": "function", "function": tool}],
            "messages": [
                {"role": "system", "content": next(word)},
                {"role": next(word), "content": next(word), "name": next(word)},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": next(word), "type": "function", "function": call}],
                },
                {"role": "tool", "tool_call_id": next(word), "content": next(word)},
                {"role": "user", "content": [{"type": "text", "text": next(word)}]},
            ],
        }
    else:
        body |= {
            "instructions": next(word),
            "tools": [{"type": "function", **tool}],
            "input": [
                {"role": next(word), "content": next(word)},
                {
                    "type": "function_call",
                    "name": "lookup",
                    "call_id": next(word),
                    "arguments": json.dumps({"n": next(word)}),
                },
                {"type": "function_call_output", "call_id": next(word), "output": next(word)},
                {"role": "user", "content": [{"type": "input_text", "text": next(word)}]},
            ],
        }
    return body | more


ECHO = "You said: canaryecho sang, and this model does not like it."
SCENES: dict[str, list[Script]] = {
    "an answer": [[Role(), Think("canarythought"), Say("canaryspoken sang. "), Finish(), Done()]],
    "a call": [calls("lookup", {"n": 1, "canaryargument": "canaryvalue"})],
    "hopeless calls": [calls("lookup", {"n": "canaryvalue"})],
    "a call of nothing": [calls("canarytool sang", '{"n": canaryvalue')],
    "silence": [[Role(), Think("canarythought"), Finish("canaryfinish sang"), Done()]],
    "a refusal that echoes": [refused(400, message=ECHO, code="canarycode sang", param="canary p")],
    "a field that is refused": [refused(400, message=ECHO, param="user"), answer("canaryspoken")],
    "an error that echoes": [refused(500, message=ECHO)],
    "a limit that echoes": [refused(429, message=ECHO, code="rate_limit_exceeded")],
    "our key refused": [refused(401, message=f"{ECHO} {UPSTREAM_KEY}")],
    "a page": [page(502)],
    "no JSON": [[Reply(ECHO.encode(), 400, {"content-type": "text/plain"})]],
    "a text for JSON": [
        [Reply(json.dumps(ECHO).encode(), 400, {"content-type": "application/json"})]
    ],
    "an answer that is none": [[Reply(ECHO.encode())]],
    "an error in mid-stream": [
        [Role(), Say("canaryspoken"), Fail({"message": ECHO, "code": ECHO})]
    ],
    "a text for an error": [[Role(), Raw(b'data: {"error": "' + ECHO.encode() + b'"}\n\n')]],
    "an error at once": [[Role(), Fail({"message": ECHO, "type": ECHO, "param": ECHO})]],
    "a cut": [[Role(), Say("canaryspoken sang"), Cut()]],
    "a cut call": [[Role(), CallPiece(0, '{"canary', name="lookup", id="c"), Cut()]],
}


class Heard:
    """Everything that was logged anywhere."""

    def __init__(
        self, logs: Logged, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.INFO)
        self.logs = logs
        self._caplog = caplog
        self._capfd = capfd

    def text(self) -> str:
        """Return our log, the metrics, and other libraries' lines at a level that Lambda shows."""
        out, err = self._capfd.readouterr()
        others = [
            logging.Formatter().format(record)
            for record in self._caplog.records
            # Our log is in `logs`, as CloudWatch gets it, and the client is the test's.
            if record.name != "completions" and "http://test" not in record.getMessage()
        ]
        return "\n".join([self.logs.text, out, err, *others])

    def nothing(self) -> None:
        """Assert that no canary and no key was logged."""
        text = self.text()
        assert CANARY.findall(text) == []
        assert CALLER_KEY not in text
        assert UPSTREAM_KEY not in text


@pytest.fixture
def heard(
    logs: Logged, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Heard:
    """Everything that this test logs."""
    return Heard(logs, caplog, capfd)


@pytest.mark.parametrize("on_failure", ["speak", "error"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scripts", SCENES.values(), ids=SCENES)
async def test_no_turn_is_quoted(
    heard: Heard, path: str, stream: bool, on_failure: str, scripts: list[Script]
) -> None:
    """A good turn and each kind of failure logs one line, and no line quotes the conversation."""
    async with (
        ScriptedUpstream(*scripts) as upstream,
        calling(deploy(upstream.base_url, **CALM)) as client,
    ):
        await client.post(
            path,
            json=request(path, stream=stream),
            headers={"x-completions-on-failure": on_failure},
        )
    event = heard.logs.event("turn.finished")
    assert event["roles"][-1] == "user"
    assert (event["tools_offered"], event["gen_ai.request.model"]) == (["lookup"], "gpt-x")
    if "canarytool" in str(event.get("tools_called")):
        # A tool's name is not content.
        event["tools_called"] = []
        assert not CANARY.search(json.dumps(event))
        return
    heard.nothing()


BAD_BODIES: dict[str, bytes] = {
    "no JSON": b"canarybody sang",
    "half a text": b'{"messages": [{"role": "user", "content": "canarybody sang',
    "half a character": b'{"model": "canarybody \\ud800 sang"}',
    "a bad number": b'{"canarybody": 12canary}',
    "no object": b'"canarybody sang"',
    "a text for a list": b'{"messages": "canarybody sang", "input": {"canarybody": 1}}',
    "a list for a text": b'{"model": ["canarybody sang"], "messages": [1], "input": [1]}',
    "no messages": b'{"model": "m", "canarybody": "canarybody sang"}',
    "a wrong message": b'{"messages": ["canarybody sang"], "input": ["canarybody sang"]}',
    "a wrong extra body": b'{"messages": [{"role": "user"}], "input": "?", '
    b'"elevenlabs_extra_body": {"language": ["canarybody sang"]}}',
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_request_is_not_quoted(heard: Heard, path: str, body: bytes) -> None:
    """The log names the field and what was expected, but not its value."""
    async with calling(deploy("http://127.0.0.1:9/v1")) as client:
        response = await client.post(path, content=body)
    assert response.status_code == 400
    event = heard.logs.event("turn.finished")
    assert (event["outcome"], event["error.type"]) == ("refused", "invalid_request")
    assert heard.logs.event("request.refused")["reason"]
    heard.nothing()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_bug_does_not_quote(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """A bug's trace is logged once, without the exception's message."""
    words = canaries("bug")

    def broken(*_: object, **__: object) -> object:
        raise ValueError(f"cannot take {next(words)}")

    async with (
        ScriptedUpstream(answer("canaryspoken")) as upstream,
        calling(deploy(upstream.base_url, **CALM)) as client,
    ):
        for place in (
            "tools.held_calls.HeldCalls.judge",
            "turn.plan.Plan.__init__",
            "web.request_options.on_failure",
        ):
            with monkeypatch.context() as patch:
                patch.setattr(f"completions.{place}", broken)
                response = await client.post(CHAT, json=request(CHAT, stream=stream))
                assert response.status_code in {200, 500}
                assert "canarybug" not in response.text
    assert {event["outcome"] for event in heard.logs.events("turn.finished")} == {"crashed"}
    crashes = heard.logs.events("turn.crashed") + heard.logs.events("request.crashed")
    assert len(crashes) >= 3
    for crash in crashes:
        assert "broken" in crash["exception"], crash
    heard.nothing()


async def test_an_agent_that_raises_is_not_quoted(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent's trace is logged without the message, which may quote the caller."""

    async def agent(conversation: Conversation) -> AsyncGenerator[Event, None]:
        raise KeyError(str(conversation.messages))
        yield

    monkeypatch.setattr("completions.responder.load", lambda _: agent)
    async with calling(deploy("http://127.0.0.1:9/v1", responder="a:b", **CALM)) as client:
        await client.post(CHAT, json=request(CHAT))
    assert "agent" in heard.logs.events("candidate.crashed")[0]["exception"]
    heard.nothing()


# -- keys


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-api-key": "canarykey"}, {"reason": "wrong key", "key_length": 9}),
        ({"authorization": "Bearer canarykey"}, {"reason": "wrong key", "key_length": 9}),
        (
            {"authorization": "canarykey"},
            {"reason": "no key", "authorization": "not Bearer and a key"},
        ),
        ({"authorization": "Bearer"}, {"reason": "no key", "authorization": "Bearer and nothing"}),
        ({"authorization": ""}, {"reason": "no key", "authorization": "absent"}),
    ],
)
async def test_a_wrong_key_is_a_warning_and_a_metric(
    heard: Heard, headers: dict[str, str], expected: dict[str, Any]
) -> None:
    """A wrong key is a warning that says what was expected, and a metric, but no turn."""
    async with calling(deploy("http://127.0.0.1:9/v1")) as client:
        del client.headers["authorization"]
        response = await client.post(CHAT, json=request(CHAT), headers=headers)
    assert response.status_code == 401
    event = heard.logs.event("auth.refused")
    assert event | expected | {"level": "WARNING", "path": CHAT} == event
    assert "caller key" in event["expected"].lower() or "CallerKey" in event["expected"]
    assert heard.logs.events("turn.finished") == []
    text = heard.text()
    assert text.count('"AuthFailures":[1.0]') == 1
    assert not CANARY.search(text)


async def test_a_key_in_the_server_url_reaches_no_log_line(heard: Heard) -> None:
    """A key that was pasted into the server URL is redacted from the logged path."""
    async with calling(deploy("http://127.0.0.1:9/v1")) as client:
        key = "canary" + "4x" * 21
        for path in (f"/{key}/v1/chat/completions", f"/v1/{key}"):
            for method in ("POST", "GET"):
                del client.headers["authorization"]
                await client.request(method, path, json=request(CHAT))
                client.headers["authorization"] = ""
    assert heard.logs.event("auth.refused")["path"] == "/…/v1/chat/completions"
    assert {event["path"] for event in heard.logs.events("path.unknown")} == {
        "/…/v1/chat/completions",
        "/v1/…",
    }
    assert CANARY.findall(heard.text()) == []


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_wrong_path_is_logged_with_the_right_ones(heard: Heard, method: str) -> None:
    """A wrong path is logged with the method, the path as received, and the right URLs."""
    path = "/v1/completions" if method == "POST" else CHAT
    async with calling(deploy("http://127.0.0.1:9/v1")) as client:
        await client.request(method, path)
    event = heard.logs.event("path.unknown")
    assert (event["level"], event["method"], event["path"]) == ("WARNING", method, path)
    assert event["expected"] == (
        "POST http://test/v1/chat/completions or POST http://test/v1/responses"
    )


async def test_a_key_that_cannot_be_read_is_counted(heard: Heard) -> None:
    """A secret that cannot be read counts a metric."""
    secrets = FakeSecrets()
    secrets.failure = aws_error("AccessDeniedException")
    async with calling(deploy("http://127.0.0.1:9/v1", secrets)) as client:
        assert (await client.post(CHAT, json=request(CHAT))).status_code == 503
    event = heard.logs.event("turn.finished")
    assert (event["outcome"], event["error.type"]) == ("error", "key_unavailable")
    text = heard.text()
    assert '"KeyFailures":[1.0]' in text
    assert '"FailedTurns":[1.0]' in text


# -- which call it was


async def test_every_line_of_a_turn_names_the_call(heard: Heard) -> None:
    """The call's id comes from the header, else from the extra body."""
    secrets = FakeSecrets()
    secrets.put("caller-secret", {"key": "newer"})
    async with (
        ScriptedUpstream(refused(500), answer("Yes.")) as upstream,
        calling(deploy(upstream.base_url, secrets, **CALM)) as client,
    ):
        path = "/v1/v1/chat/completions"
        extra = {"elevenlabs_extra_body": {"system__conversation_id": "conv_extra"}}
        for headers in (
            {"x-conversation-id": "conv_1"},
            {"x-api-key": "newer", "authorization": ""},
        ):
            await client.post(path, json=request(CHAT, **extra), headers=headers)
    lines = [json.loads(line) for line in heard.logs.text.splitlines()]
    by_call = {
        call: [line["message"] for line in lines if line["gen_ai.conversation.id"] == call]
        for call in ("conv_1", "conv_extra")
    }
    assert by_call == {
        "conv_1": ["upstream.refused", "turn.finished"],
        "conv_extra": ["turn.finished"],
    }
    assert {line["path"] for line in lines} == {path}
    assert [event["auth"] for event in heard.logs.events("turn.finished")] == [
        "previous",
        "current",
    ]


async def test_no_line_has_facts_of_the_previous_request(logs: Logged) -> None:
    """On a kept connection no line carries facts of the previous request."""
    large = {"model": "m", "messages": [{"role": "user", "content": "x" * 2_000_000}]}
    async with (
        ScriptedUpstream(answer("Yes.")) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
        httpx2.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=30) as client,
    ):
        for _ in range(3):
            await client.post(CHAT, json=large, headers={"x-conversation-id": "conv_1"})
        await client.post(CHAT, json=request(CHAT))
        await client.post(CHAT, headers={"authorization": "Bearer wrong"})
        await client.post("/v1/nothing", headers={"authorization": "Bearer wrong"})
    calls = [one.get("gen_ai.conversation.id") for one in logs.events("turn.finished")]
    assert calls == [*["conv_1"] * 3, None]
    for line in (logs.event("auth.refused"), logs.event("path.unknown")):
        assert not line.keys() & {"auth", "gen_ai.conversation.id"}


async def test_the_first_turn_of_an_environment_is_cold(heard: Heard) -> None:
    """Only an environment's first turn is cold; every turn that asked a model logs our own time."""
    async with (
        ScriptedUpstream(answer("Yes.")) as upstream,
        calling(deploy(upstream.base_url, **CALM)) as client,
    ):
        for _ in range(3):
            await client.post(CHAT, json=request(CHAT))
    events = heard.logs.events("turn.finished")
    assert [event["cold_start"] for event in events] == [True, False, False]
    assert all(0 < event["overhead_ms"] <= event["duration_ms"] for event in events)
    assert all(event["upstream_headers_ms"] > 0 for event in events)
    assert heard.text().count('"ColdStarts":[1.0]') == 1


# -- with `log_content`


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_with_log_content_the_last_words_are_logged(
    heard: Heard, path: str, stream: bool
) -> None:
    """With the setting, the last user message and the answer are logged, and still no key."""
    async with (
        ScriptedUpstream(answer("canaryspoken sang.")) as upstream,
        calling(deploy(upstream.base_url, log_content=True, **CALM)) as client,
    ):
        body = request(path, stream=stream)
        await client.post(path, json=body)
    event = heard.logs.event("turn.finished")
    (message,) = event["gen_ai.input.messages"]
    last_words = (body.get("messages") or body["input"])[-1]["content"][0]["text"]
    assert message == {"role": "user", "parts": [{"type": "text", "content": last_words}]}
    assert event["gen_ai.output.messages"][0]["parts"][0]["content"] == "canaryspoken sang."
    assert set(CANARY.findall(heard.text())) == {last_words.split()[0], "canaryspoken"}
    assert CALLER_KEY not in heard.logs.text


async def test_with_log_content_a_refusal_is_logged(heard: Heard) -> None:
    """With the setting, the model API's refusal is logged in full."""
    async with (
        ScriptedUpstream(refused(400, message=ECHO)) as upstream,
        calling(deploy(upstream.base_url, log_content=True, **CALM)) as client,
    ):
        await client.post(CHAT, json=request(CHAT))
    assert heard.logs.event("turn.failed")["reason"] == ECHO


def test_content_is_not_logged_by_default() -> None:
    """By default no content is logged."""
    assert Settings().log_content is False
