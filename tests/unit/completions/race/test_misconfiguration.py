"""A misconfiguration is reported to the owner, since callers hear words whatever is refused."""

from __future__ import annotations

import pytest

from local.scripted.script import Script, answer, refused
from tests.support.in_process import PlayedUpstream
from tests.support.logs import Logged
from tests.support.ways import CHAT, Way

pytestmark = pytest.mark.looptime

FAULTS: dict[str, tuple[Script, str]] = {
    "key": (refused(401), "make upstream-key"),
    "credit": (refused(402), "billing"),
    "model": (refused(404, code="model_not_found"), "UpstreamModel"),
    "address": (refused(404), "UpstreamBaseUrl"),
}


@pytest.mark.parametrize("cause", FAULTS)
async def test_the_owner_gets_a_remedy(
    way: Way, cause: str, logs: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has cause and remedy as an error, and a metric counts it."""
    script, remedy = FAULTS[cause]
    await way.turn(script)
    event = logs.event("upstream.misconfigured")
    assert (event["level"], event["cause"], event["candidate"]) == ("ERROR", cause, "upstream")
    assert remedy in event["hint"]
    assert capsys.readouterr().out.count('"SetupFailures":[1.0]') == 1


async def test_an_unknown_model_is_named(way: Way, logs: Logged) -> None:
    """It may be the caller's or the deployment's own: the log has the one in the request."""
    await way.turn(FAULTS["model"][0])
    assert logs.event("upstream.misconfigured")["model"] == "m"


async def test_a_fault_that_a_fallback_hides_is_reported(way: Way, logs: Logged) -> None:
    """It costs time in each turn; a fault of the fallback is reported as the fallback's."""
    got, _, _ = await way.turn(refused(403), fallback=answer("From F."))
    assert got.text == "From F."
    await way.turn(refused(500), fallback=refused(401))
    first, second = logs.events("upstream.misconfigured")
    assert (first["candidate"], second["candidate"]) == ("upstream", "fallback")
    assert "FALLBACK_KEY" in second["hint"]


@pytest.mark.parametrize(
    "script",
    [
        refused(400, code="content_filter"),
        refused(400, param="messages", code="context_length_exceeded"),
        refused(413, param="messages"),
        refused(429),
        refused(500),
        answer("Yes."),
    ],
    ids=str,
)
async def test_a_fault_that_the_owner_cannot_fix_is_not_reported(
    script: Script, logs: Logged
) -> None:
    """A refused request or a passing fault appears in the turn's own lines only."""
    await CHAT.turn(script)
    assert logs.events("upstream.misconfigured") == []


async def test_an_empty_account_is_asked_last_for_a_while() -> None:
    """It refuses every caller, so after two turns the fallback is asked first."""
    upstream = PlayedUpstream(refused(402), fallback=answer("From F."))
    caller = CHAT.caller(upstream)
    for _ in range(3):
        await CHAT.post(caller)
    candidates = [seen.candidate for seen in upstream.requests]
    assert candidates == ["upstream", "fallback", "upstream", "fallback", "fallback"]
