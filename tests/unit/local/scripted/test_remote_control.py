"""A scripted model that another program steers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from local.scripted.remote_control import SteeredUpstream
from ops.doctor.wire import Exchange, exchange
from ops.pasted_url import Address


async def _ask(model: SteeredUpstream, method: str, path: str, body: Any = None) -> Exchange:
    data = b"" if body is None else json.dumps(body).encode()
    return await asyncio.to_thread(
        exchange, Address.parse(model.address), method, path, headers={}, body=data, timeout_s=10
    )


async def test_scenes_are_played_in_turn_and_requests_are_reported() -> None:
    """The last scene repeats, and requests are reported since the last steering."""
    async with SteeredUpstream() as model:
        turn = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}
        await _ask(model, "POST", "/scenes", {"scenes": [{"say": "One."}, {"say": "Two."}]})
        answers = [await _ask(model, "POST", "/v1/chat/completions", turn) for _ in range(3)]
        said = [json.loads(each.body)["choices"][0]["message"]["content"] for each in answers]
        assert said == ["One.", "Two.", "Two."]
        assert json.loads((await _ask(model, "GET", "/requests")).body) == [turn] * 3
        await _ask(model, "POST", "/scenes", {"scenes": [{"fails": 503}]})
        assert json.loads((await _ask(model, "GET", "/requests")).body) == []
        assert (await _ask(model, "POST", "/v1/chat/completions", turn)).status == 503


async def test_steering_that_makes_no_sense_is_refused() -> None:
    """The current scene stays, and the answer says what is wrong."""
    async with SteeredUpstream() as model:
        wrong: list[Any] = [{"scenes": []}, {}, {"scenes": [{"sayy": "a"}]}, {"scenes": [1]}]
        for body in wrong:
            refused = await _ask(model, "POST", "/scenes", body)
            assert refused.status == 400, body
        answer = await _ask(model, "POST", "/v1/responses", {"model": "m", "input": "Hello?"})
        assert b"Hello there." in answer.body
