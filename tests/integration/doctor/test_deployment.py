"""The doctor on the function, with healthy and with failing models."""

from __future__ import annotations

import pytest

from local.deployment import Deployment
from local.scripted.script import Script, refused
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream
from ops.doctor import report
from ops.doctor.turns import SHAPES, TURNS
from tests.support import strict_servers
from tests.support.deployment import CALM, CALM_ENVIRONMENT, deploy, served
from tests.support.doctor import model, results, run_doctor
from tests.support.secrets import CALLER_KEY, UPSTREAM_SECRET, FakeSecrets


async def test_the_app_passes_under_uvicorn() -> None:
    """Every check is good and the answer streams."""
    async with (
        ScriptedUpstream(model, responses=True) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        run, findings = await run_doctor(url, CALLER_KEY)
    assert results(findings) == {}
    assert len(findings) == 19 + len(SHAPES)
    assert report.usable(findings)
    assert run.streaming
    assert run.streaming.verdict == "stream"
    heard = {each.name: each for each in findings}
    assert "look_up_order" in heard["a tool is offered"].came_back
    assert heard["an interruption"].came_back == "left after the first words"
    assert heard["a turn"].first_words_ms


async def test_the_model_gets_what_a_platform_would_send() -> None:
    """The model's call comes back with its result, and a prompt of 2 MB reaches the model."""
    async with ScriptedUpstream(model, responses=True) as upstream:
        async with served(deploy(upstream.base_url, **CALM)) as url:
            await run_doctor(url, CALLER_KEY)
        bodies = [request.json for request in upstream.requests]
    (result,) = [
        body["messages"]
        for body in bodies
        if any(one.get("tool_call_id") == "call_0" for one in body.get("messages", ()))
    ]
    assert result[-2]["content"] is None
    assert result[-2]["tool_calls"][0]["id"] == result[-1]["tool_call_id"] == "call_0"
    assert max(len(request.raw) for request in upstream.requests) > 2_000_000
    assert any({m["role"] for m in b.get("messages", ())} == {"system"} for b in bodies)


@pytest.mark.parametrize("invoke_mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_the_deployment_passes(invoke_mode: str) -> None:
    """A streaming Function URL passes every check; a buffered one is usable, with a warning."""
    async with (
        ScriptedUpstream(model, responses=True) as upstream,
        Deployment(
            upstream=upstream.base_url,
            parameters={"InvokeMode": invoke_mode, "SnapStart": "Off"},
            environment=CALM_ENVIRONMENT,
            warm=False,
        ) as deployment,
    ):
        run, findings = await run_doctor(deployment.url, deployment.caller_key)
    assert report.usable(findings)
    assert run.streaming
    assert run.cold_start
    # The first request had to start a process.
    assert run.cold_start.met
    lumps = {"stream or lump": ("lump",)} if invoke_mode == "BUFFERED" else {}
    assert results(findings) == lumps
    assert run.streaming.certain == (invoke_mode == "BUFFERED")


@pytest.mark.parametrize(
    ("upstream_key", "script", "cause"),
    [
        ("k", refused(401), "upstream_auth"),
        (None, refused(401), "key_unavailable"),
        ("k", refused(404, code="model_not_found"), "model_unknown"),
        ("k", refused(500), "model_down"),
        ("k", refused(429, code="rate_limit_exceeded"), "model_limited"),
    ],
)
async def test_the_functions_own_errors_are_recognised(
    upstream_key: str | None, script: Script, cause: str
) -> None:
    """The function's errors about keys and models are recognised as such."""
    secrets = FakeSecrets()
    if upstream_key is None:
        del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    async with (
        ScriptedUpstream(script) as upstream,
        served(deploy(upstream.base_url, secrets, **CALM)) as url,
    ):
        _, findings = await run_doctor(url, CALLER_KEY)
    first = next(each for each in findings if each.name == "a turn")
    assert cause in [trouble.cause for trouble in first.troubles]
    assert not report.usable(findings)


async def test_every_turn_fails_with_a_dead_model() -> None:
    """An apology counts as a failure even in an interrupted turn, and not as a small window."""
    async with (
        ScriptedUpstream(refused(500)) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        _, findings = await run_doctor(url, CALLER_KEY)
    told = {each.name: each.result for each in findings}
    assert {told[turn.name] for turn in TURNS if turn.name in told} == {"failed"}
    heard = results(findings)
    assert heard["an interruption"] == ("failure_sentence", "model_down")
    assert heard["a 2 MB prompt"] == ("model_down",)


async def test_the_function_passes_in_front_of_a_strict_model() -> None:
    """In front of a strict server the function passes every check."""

    def answered(request: RecordedRequest) -> Script:
        messages = request.json.get("messages", [])
        words = strict_servers.first_refusal("Mistral", messages) if messages else None
        return refused(400, message=words) if words else model(request)

    async with (
        ScriptedUpstream(answered, responses=True) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        _, findings = await run_doctor(url, CALLER_KEY)
    assert results(findings) == {}
