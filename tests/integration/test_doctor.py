"""The doctor at work: on the deployment, which is well, and on servers that are not."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from local.deployment import Deployment
from local.scripted.script import Script, answer, calls, refused
from local.scripted.script_player import Seen
from local.scripted.upstream import ScriptedUpstream
from ops.doctor import __main__ as command
from ops.doctor import dialects, report
from ops.doctor.causes import CAUSES
from ops.doctor.checks import Finding, Visit
from ops.doctor.turns import SHAPES, TURNS
from ops.pasted_url import Address
from tests.support import histories, patients, strict_servers
from tests.support.deployment import CALM, CALM_ENVIRONMENT, deploy, served, unused_port
from tests.support.patients import (
    ILL,
    KEY,
    Answer,
    Request,
    Server,
    healthy,
    late_lump,
    serve,
    speech,
    turns_only,
)
from tests.support.patients import told as refusal
from tests.support.secrets import CALLER_KEY, UPSTREAM_SECRET, FakeSecrets
from tests.support.tls import make_certificate, server_context

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy this machine is makes no words slow."""
    monkeypatch.setattr("ops.doctor.checks.SLOW_WORDS_MS", 60_000)


def model(request: Seen) -> Script:
    """Answers as a good model would."""
    if b"story" in request.raw:
        # Slow enough that a busy machine's pauses make no lump of it.
        return answer("word " * 40, pace_ms=25)
    items = request.json.get("messages") or request.json["input"]
    if request.json.get("tools") and items[-1]["role"] == "user":
        return calls("look_up_order", {"number": 42})
    return answer("Yes, hello.")


async def visited(url: str, key: str) -> tuple[Visit, list[Finding]]:
    """A whole visit, in a thread, since the doctor blocks."""
    visit = Visit(Address.parse(url), key, "m")
    return visit, await asyncio.to_thread(lambda: list(visit.rows()))


def results(findings: Sequence[Finding]) -> dict[str, tuple[str, ...]]:
    """The rows that are not simply good."""
    return {
        each.name: tuple(trouble.cause for trouble in each.troubles)
        for each in findings
        if each.result != "ok"
    }


# -- in good health


async def test_the_app_is_well_under_uvicorn() -> None:
    """Every check is good, the answer streams, and nothing was started for the first request."""
    async with (
        ScriptedUpstream(model, responses=True) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        visit, findings = await visited(url, CALLER_KEY)
    assert results(findings) == {}
    assert len(findings) == 19 + len(SHAPES)
    assert report.usable(findings)
    assert visit.streaming
    assert visit.streaming.verdict == "stream"
    heard = {each.name: each for each in findings}
    assert "look_up_order" in heard["a tool is offered"].came_back
    assert heard["an interruption"].came_back == "left after the first words"
    assert heard["a turn"].first_words_ms


async def test_what_the_model_is_asked_is_what_a_platform_asks() -> None:
    """The call that the model made comes back with its result, and 2 MB reach the model."""
    async with ScriptedUpstream(model, responses=True) as upstream:
        async with served(deploy(upstream.base_url, **CALM)) as url:
            await visited(url, CALLER_KEY)
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
async def test_the_deployment_is_well(invoke_mode: str) -> None:
    """Behind Function URL and layer all is good; in one piece it is usable, with a warning."""
    async with (
        ScriptedUpstream(model, responses=True) as upstream,
        Deployment(
            upstream=upstream.base_url,
            parameters={"InvokeMode": invoke_mode, "SnapStart": "Off"},
            environment=CALM_ENVIRONMENT,
            warm=False,
        ) as deployment,
    ):
        visit, findings = await visited(deployment.url, deployment.caller_key)
    assert report.usable(findings)
    assert visit.streaming
    assert visit.cold_start
    # The first request met a process that had to be started.
    assert visit.cold_start.met
    lumps = {"stream or lump": ("lump",)} if invoke_mode == "BUFFERED" else {}
    assert results(findings) == lumps
    assert visit.streaming.certain == (invoke_mode == "BUFFERED")


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
async def test_our_own_errors_are_known(
    upstream_key: str | None, script: Script, cause: str
) -> None:
    """What the function says of keys and models is told in words of its operator."""
    secrets = FakeSecrets()
    if upstream_key is None:
        del secrets.versions[UPSTREAM_SECRET, "AWSCURRENT"]
    async with (
        ScriptedUpstream(script) as upstream,
        served(deploy(upstream.base_url, secrets, **CALM)) as url,
    ):
        _, findings = await visited(url, CALLER_KEY)
    first = next(each for each in findings if each.name == "a turn")
    assert cause in [trouble.cause for trouble in first.troubles]
    assert not report.usable(findings)


# -- ill


def told(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *options: str,
    key: str = KEY,
) -> tuple[int, dict[str, Any]]:
    """Exit status and report of `python3 -m ops.doctor --json` on this server."""
    monkeypatch.setenv("DOCTOR_KEY", key)
    with serve(server) as url:
        monkeypatch.setattr(sys, "argv", ["doctor", url, "--json", *options])
        status = command.main()
    return status, json.loads(capsys.readouterr().out)


def causes(told: dict[str, Any]) -> list[str]:
    return [trouble["cause"] for check in told["checks"] for trouble in check["troubles"]]


def test_a_healthy_server_is_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that the ill ones are made from has no trouble at all."""
    monkeypatch.setattr(patients, "PACE_S", 0.025)
    status, seen = told(healthy, capsys, monkeypatch)
    assert causes(seen) == []
    assert (status, seen["usable"], seen["streams"]["verdict"]) == (0, True, "stream")


@pytest.mark.parametrize("illness", ILL)
def test_each_illness_is_known(
    illness: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each broken server gets its own cause, first of all, and the exit status 1."""
    server, cause = ILL[illness]
    patience = ["--timeout-s", "0.7"] if cause == "timeout" else []
    status, seen = told(server, capsys, monkeypatch, *patience)
    failures = [name for name in causes(seen) if not CAUSES[name].warning]
    assert failures[0] == cause
    assert (status, seen["usable"]) == (1, False)


def test_an_apology_is_asked_for_its_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the spoken apology stands what a client that asks for errors hears."""
    _, seen = told(ILL["apologises"][0], capsys, monkeypatch)
    assert causes(seen)[:2] == ["failure_sentence", "upstream_auth"]


async def test_a_dead_model_makes_no_row_of_a_turn_good() -> None:
    """Words of ours are an apology, however soon the doctor leaves, and no model's small window."""
    async with (
        ScriptedUpstream(refused(500)) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        _, findings = await visited(url, CALLER_KEY)
    told = {each.name: each.result for each in findings}
    assert {told[turn.name] for turn in TURNS if turn.name in told} == {"failed"}
    heard = results(findings)
    assert heard["an interruption"] == ("failure_sentence", "model_down")
    assert heard["a 2 MB prompt"] == ("model_down",)


STRICT: list[strict_servers.Rule] = [
    *(rule for rules in strict_servers.SERVERS.values() for rule in rules),
    lambda messages: next(iter(histories.faults(messages)), None),
]


def strict(request: Request, answer: Answer) -> Answer:
    """Refuses all that any model API refuses, but takes a prompt of two messages."""
    body = request.json
    history = body.get("messages", ())
    plain = [message["role"] for message in history] == ["system", "user"]
    if {"metadata", "call"} & body.keys() == {"metadata"} or body.get("tools") == []:
        return refusal(400, "invalid_value", "metadata is only allowed when store is enabled.")
    words = None if plain or not history else next(filter(None, (r(history) for r in STRICT)), None)
    return refusal(400, "invalid_request_error", words) if words else answer


def test_each_shape_that_a_model_refuses_has_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is strict about histories is told what would end its calls, by its words."""
    status, seen = told(turns_only(strict), capsys, monkeypatch)
    found = {row["tried"]: [one["cause"] for one in row["troubles"]] for row in seen["checks"]}
    assert {shape.name: found[shape.name] for shape in SHAPES} == {
        shape.name: ["shape_refused"] for shape in SHAPES
    }
    assert found["a turn"] == found["a long answer"] == []
    (row,) = [row for row in seen["checks"] if row["tried"] == "a developer message"]
    assert "developer is not one of" in row["came_back"]
    assert status == 1


async def test_what_a_model_refuses_is_mended_by_the_function() -> None:
    """In front of the same server every row is good."""

    def answered(request: Seen) -> Script:
        messages = request.json.get("messages", [])
        words = strict_servers.first_refusal("Mistral", messages) if messages else None
        return refused(400, message=words) if words else model(request)

    async with (
        ScriptedUpstream(answered, responses=True) as upstream,
        served(deploy(upstream.base_url, **CALM)) as url,
    ):
        _, findings = await visited(url, CALLER_KEY)
    assert results(findings) == {}


def test_one_lump_is_told_from_a_stream(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was held back until it was whole is a warning while the platform waits."""
    status, seen = told(late_lump(0.7), capsys, monkeypatch)
    assert causes(seen) == ["lump"]
    assert (status, seen["streams"]["verdict"]) == (0, "lump")


def test_late_by_chance_is_no_lump(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was slow to begin once, and quick then, is asked again before it is accused."""
    waits = iter([0.7])

    def late_once(request: Request, answer: Answer) -> Answer:
        wait = next(waits, 0.0) if request.long else 0.0
        return Answer(pieces=(wait, answer.body))

    _, seen = told(turns_only(late_once), capsys, monkeypatch)
    assert causes(seen) == []
    assert seen["streams"]["verdict"] == "unknown"


def test_what_follows_from_a_cut_is_no_cause_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut stream lacks its end, and is told to be cut, and no more."""
    _, seen = told(ILL["cut"][0], capsys, monkeypatch)
    assert set(causes(seen)) == {"cut"}


def test_one_request_that_hangs_does_not_end_the_visit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a turn went well, a failure is one row's: the others are tried all the same."""
    hung = turns_only(lambda request, answer: Answer(0) if "tools" in request.json else answer)
    status, seen = told(hung, capsys, monkeypatch, "--timeout-s", "1.5")
    assert set(causes(seen)) == {"timeout"}
    assert "skipped" not in {check["result"] for check in seen["checks"]}
    assert status == 1


def test_one_lump_that_is_late_cannot_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held back for longer than the platform waits, it is none that an agent can use."""
    status, seen = told(late_lump(0.7), capsys, monkeypatch, "--patience-s", "0.5")
    assert "late_words" in causes(seen)
    assert status == 1


def test_a_quick_answer_is_no_lump(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is quick as a whole is not accused of anything."""
    at_once = turns_only(lambda _, answer: answer.changed(lambda data: data))
    status, seen = told(at_once, capsys, monkeypatch)
    assert causes(seen) == []
    assert (status, seen["streams"]["verdict"]) == (0, "unknown")


def test_words_that_are_late_once_are_forgiven(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor asks again as the platform would, and takes the second answer."""
    waits = iter([1.6])

    def first_late(_: Request, answer: Answer) -> Answer:
        return Answer(pieces=(next(waits, 0.0), *answer.pieces))

    status, seen = told(turns_only(first_late), capsys, monkeypatch, "--patience-s", "1.5")
    assert causes(seen) == ["late_once"]
    assert status == 0


def test_buffer_words_are_not_taken_for_the_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of ours before the answer are a warning, which tells when the model spoke."""
    spoken = Answer(pieces=speech(["Okay, one moment... ", "Yes."]))
    slow = turns_only(
        lambda request, answer: answer if request.path.endswith("/responses") else spoken
    )
    status, seen = told(slow, capsys, monkeypatch)
    assert set(causes(seen)) == {"buffer_words", "no_call"}
    assert status == 0


def test_a_wrong_key_is_the_callers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong key one turn is tried, and no more: the rest would say the same."""
    status, seen = told(healthy, capsys, monkeypatch, key="another")
    assert causes(seen) == ["caller_key"]
    assert status == 1
    assert {check["result"] for check in seen["checks"][2:]} == {"skipped"}


BEDROCK_WANTS_A_KEY = Answer(
    403,
    patients.JSON,
    (b'{"Message":"Authentication failed: Please make sure your API Key is valid."}',),
)
BEDROCK_FORBIDS = Answer(
    403,
    patients.JSON,
    (b'{"Message":"User: u is not authorized to perform: bedrock:InvokeModel on resource: r"}',),
)


@pytest.mark.parametrize(
    ("turn", "found", "exit_status"),
    [(None, [], 0), (BEDROCK_FORBIDS, ["upstream_rights"], 1)],
    ids=["well", "without the right"],
)
def test_bedrock_itself_can_be_asked(
    turn: Answer | None,
    found: list[str],
    exit_status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its 403 to no key, a wrong one and /health is as good as a 401; its other 403 is not."""
    monkeypatch.setattr(patients, "PACE_S", 0.025)

    def bedrock(request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return BEDROCK_WANTS_A_KEY
        return turn or healthy(request)

    status, seen = told(bedrock, capsys, monkeypatch)
    assert causes(seen) == found
    assert status == exit_status


def test_a_model_with_a_small_window_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that the server takes and the model refuses is no reason to say no."""
    full = refusal(400, "context_length_exceeded", "Too many tokens.")
    small = turns_only(lambda request, answer: full if len(request.raw) > 1e6 else answer)
    status, seen = told(small, capsys, monkeypatch)
    assert causes(seen) == ["small_window"]
    assert status == 0


def test_an_answer_that_broke_off_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployment's own closing sentence is known for what it is."""
    closed = Answer(pieces=speech(["Well. ", dialects.CUT_SENTENCES[1]]))
    cut = turns_only(lambda request, answer: closed if request.long else answer)
    status, seen = told(cut, capsys, monkeypatch)
    assert set(causes(seen)) == {"cut_answer"}
    assert status == 0


def test_slow_words_are_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence that a platform bears, and a caller notices, is told."""
    monkeypatch.setattr("ops.doctor.checks.SLOW_WORDS_MS", 0)
    status, seen = told(healthy, capsys, monkeypatch)
    assert set(causes(seen)) == {"slow_words"}
    assert status == 0


def test_a_key_in_plain_sight_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """http:// is fine on this machine and told anywhere else."""
    monkeypatch.setattr("ops.pasted_url._is_loopback", lambda _: False)
    status, seen = told(healthy, capsys, monkeypatch)
    assert causes(seen) == ["plain_http"]
    assert status == 0


# -- nobody there


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    """A closed port is told at once, and nothing else is tried."""
    with unused_port() as port:
        findings = list(Visit(Address.parse(f"127.0.0.1:{port}"), KEY, "m").rows())
    assert findings[0].troubles[0].cause == "refused"
    assert {each.result for each in findings[1:]} == {"skipped"}
    assert not report.usable(findings)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(-2, "Name or service not known"), "dns"),
        (TimeoutError("timed out"), "unreachable"),
        (OSError(113, "No route to host"), "unreachable"),
    ],
)
def test_no_way_there(error: OSError, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows and a network that leads nowhere are told apart."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    findings = list(Visit(Address.parse("https://x.lambda-url.eu-west-1.on.aws"), KEY, "m").rows())
    assert findings[0].troubles[0].cause == cause


def test_plain_http_where_tls_is_asked() -> None:
    """https:// to a port that speaks http:// is named."""
    with serve(healthy) as url:
        address = Address.parse(url.replace("http", "https"))
        findings = list(Visit(address, KEY, "m").rows())
    assert findings[0].troubles[0].cause == "tls"


def test_a_certificate_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for is refused; one that is trusted carries all turns."""
    pem = make_certificate(tmp_path / "server.pem")
    with serve(healthy, tls=server_context(pem)) as url:
        visit = Visit(Address.parse(url), KEY, "m")
        assert next(visit.rows()).troubles[0].cause == "tls_certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert results(list(Visit(Address.parse(url), KEY, "m").rows())) == {}
