"""Turns that continue something that only one upstream has stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from local.scripted.script import Hold, answer, refused
from tests.support.in_process import PlayedUpstream
from tests.support.ways import OVER_CHAT, RESPONSES

pytestmark = pytest.mark.looptime


CHAINS: list[dict[str, Any]] = [
    {"previous_response_id": "resp_00"},
    {"conversation": "conv_00"},
    {"input": [{"type": "item_reference", "id": "msg_00"}, {"role": "user", "content": "And?"}]},
]


@pytest.mark.parametrize("chain", CHAINS, ids=str)
async def test_a_chained_request_goes_to_the_first_candidate_alone(chain: dict[str, Any]) -> None:
    """Only the upstream that made the response knows it, so no other model is asked."""
    upstream = PlayedUpstream(refused(500), answer("Sunny."), fallback=answer())
    request = RESPONSES.body(**chain)
    got = RESPONSES.read(await RESPONSES.post(RESPONSES.caller(upstream), request))
    assert got.text == "Sunny."
    assert [seen.candidate for seen in upstream.requests] == ["upstream", "upstream"]
    for seen in upstream.requests:
        assert all(seen.json[name] for name in chain)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("on_failure", ["speak", "error"])
async def test_a_chain_that_no_candidate_knows_is_refused(
    chain: dict[str, Any], on_failure: str
) -> None:
    """Clients then send the whole history; no answer is made without it."""
    upstream = PlayedUpstream(answer())
    caller = OVER_CHAT.caller(upstream)
    heard = await OVER_CHAT.post(caller, OVER_CHAT.body(**chain), on_failure=on_failure)
    error = OVER_CHAT.read(heard).error
    assert error is not None
    assert (heard.status, error["code"]) == (400, "previous_response_not_found")
    assert upstream.requests == []


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("on_failure", ["speak", "error"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_chain_that_the_upstream_lacks_is_refused(
    chain: dict[str, Any], on_failure: str, stream: bool
) -> None:
    """The caller gets the error in every mode, and nothing is learnt."""
    missing = refused(404, message="Not found: resp_00, conv_00, msg_00.")
    upstream = PlayedUpstream(missing, answer("Sunny."), fallback=answer())
    caller = RESPONSES.caller(upstream)
    request = RESPONSES.body(**chain, stream=stream)
    heard = await RESPONSES.post(caller, request, on_failure=on_failure)
    error = RESPONSES.read(heard).error
    assert error is not None
    assert (heard.status, error["code"]) == (400, "previous_response_not_found")
    assert [seen.candidate for seen in upstream.requests] == ["upstream"]
    assert RESPONSES.read(await RESPONSES.post(caller, request)).text == "Sunny."
    for seen in upstream.requests:
        assert seen.path == "/responses"
        assert all(seen.json[name] for name in chain)


async def test_a_chain_whose_holder_turns_out_to_lack_the_api_is_refused_at_once() -> None:
    """Another turn learns it while this one waits; the budget's end would help nobody."""
    upstream = PlayedUpstream([Hold()], refused(405), answer("From chat."))
    caller = RESPONSES.caller(upstream)

    async def other() -> Any:
        await asyncio.sleep(2)
        return await RESPONSES.post(caller)

    chained = RESPONSES.post(caller, RESPONSES.body(**CHAINS[0]), on_failure="error")
    heard, second = await asyncio.gather(chained, other())
    assert RESPONSES.read(second).text == "From chat."
    error = RESPONSES.read(heard).error
    assert error is not None
    assert (heard.status, error["code"]) == (400, "previous_response_not_found")
    assert asyncio.get_running_loop().time() == pytest.approx(3.0, abs=0.1)


async def test_a_chain_that_one_replica_lacks_is_still_waited_for() -> None:
    """A second request that was refused says nothing about the late first one."""
    late = answer("From the first.", at_ms=4500)
    upstream = PlayedUpstream(late, refused(404, message="Not found: resp_00."))
    heard = await RESPONSES.post(RESPONSES.caller(upstream), RESPONSES.body(**CHAINS[0]))
    assert RESPONSES.read(heard).text.endswith("From the first.")


REASONED: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello?"},
    {"type": "reasoning", "id": "rs_0123", "summary": []},
    {"type": "message", "role": "assistant", "content": "Hi.", "id": "msg_0123"},
    {"role": "user", "content": "And?"},
]


async def test_unknown_items_are_sent_without_their_ids() -> None:
    """The request has all the text: it is repeated without items that are only an id."""
    upstream = PlayedUpstream(refused(404, message="Item with id 'rs_0123' not found."), answer())
    caller = RESPONSES.caller(upstream)
    heard = await RESPONSES.post(caller, RESPONSES.body(input=REASONED))
    assert heard.status == 200
    first, second = (seen.json["input"] for seen in upstream.requests)
    assert [one.get("id") for one in first] == [None, "rs_0123", "msg_0123", None]
    assert [(one.get("id"), one["content"]) for one in second] == [
        *((None, "Hello?"), (None, "Hi."), (None, "And?"))
    ]


async def test_another_model_gets_no_ids_of_the_first_one() -> None:
    """It does not have those items."""
    upstream = PlayedUpstream(refused(503), fallback=answer())
    await RESPONSES.post(RESPONSES.caller(upstream), RESPONSES.body(input=REASONED))
    assert upstream.requests[-1].candidate == "fallback"
    assert not any("id" in one for one in upstream.requests[-1].json["input"])
