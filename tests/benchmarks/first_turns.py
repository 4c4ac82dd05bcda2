"""A call's first turn with secrets and model far away: cold, after `POST …/warm`, interrupted.

A caller who interrupts while the model still works leaves a busy environment, since Lambda does not
report hang-ups: the next turn starts in another one, as cold as the first.
"""

from __future__ import annotations

import asyncio

from tests.benchmarks.far import ROUND_TRIP_S, Far, far
from tests.benchmarks.figures import Figure, spread
from tests.benchmarks.process import Caller, Pace
from tests.benchmarks.relay import PACES
from tests.benchmarks.sandbox import function_url

WARM_TURNS = 3
BUSY = Pace(first_ms=3000)
"""A model that is still silent when its caller interrupts."""
HEARD_S = 0.1
"""The time from a turn's start to its caller's interruption."""
LEAST = "the least: TCP, TLS, secret, then a turn"
"""The slower of the two chains, a secret's (TCP, TLS, its value) and the model's connection (TCP,
TLS), and one more round trip: four in all."""
_FAR = f"secrets and model behind TLS, {ROUND_TRIP_S * 1000:.0f} ms away"


async def measure(*, rounds: int, built: bool) -> list[Figure]:
    """Measure all rows. Raises CodeError if the built package is asked for and missing."""
    figures = []
    async with far(built=built) as there:
        for ms, pace in PACES.items():
            figures.append(await _cold(there, ms, pace, rounds))
        for ms, pace in PACES.items():
            figures.append(await _after_warm(there, ms, pace, rounds))
        figures += await _interrupted(there, max(1, rounds // 2))
    return figures


async def _cold(there: Far, ms: int, pace: Pace, rounds: int) -> Figure:
    """Measure a first turn after a restore, compared with its minimum wait."""
    first, least = [], []
    secret, connection, turn = [], [], []
    for _ in range(rounds):
        async with function_url(there.here.ours) as (url, function), Caller(url) as caller:
            await function.publish()
            first.append((await caller.ask(5, pace)).first_s * 1000)
        secret_ms = await there.secret_chain_ms()
        connection_ms, turn_ms = await there.model_ms(pace)
        least.append(max(secret_ms, connection_ms) + turn_ms)
        secret.append(secret_ms)
        connection.append(connection_ms)
        turn.append(turn_ms)
    return Figure(
        f"restore to first content, {_FAR}, model at {ms} ms",
        "ms",
        spread(first),
        1.4,
        None,
        LEAST,
        spread(least),
        also={
            "secret chain": spread(secret),
            "model connection": spread(connection),
            "one round trip": spread(turn),
        },
    )


async def _after_warm(there: Far, ms: int, pace: Pace, rounds: int) -> Figure:
    first: list[float] = []
    warm: list[float] = []
    for _ in range(rounds):
        async with function_url(there.here.ours) as (url, function), Caller(url) as caller:
            await function.publish()
            await caller.warm()
            first.append((await caller.ask(5, pace)).first_s * 1000)
            warm += await _warm_turns(caller, pace)
    name = f"first turn after POST …/warm, {_FAR}, model at {ms} ms"
    return Figure(name, "ms", spread(first), *_limits(ms), "a warm turn", spread(warm))


async def _interrupted(there: Far, rounds: int) -> list[Figure]:
    """Measure the turn after an interruption, with no, one and two environments warmed."""
    pace = PACES[max(PACES)]
    second: dict[int, list[float]] = {0: [], 1: [], 2: []}
    warm: list[float] = []
    for _ in range(rounds):
        for environments, taken in second.items():
            first_ms, turns = await _interruption(there, environments, pace)
            taken.append(first_ms)
            warm += turns
    names = {
        0: "turn behind an interruption, in a new environment",
        1: "the same after POST …/warm",
        2: "the same after POST …/warm?environments=2",
    }
    return [
        Figure(
            f"{name}, model at {max(PACES)} ms",
            "ms",
            spread(second[number]),
            *(_limits(max(PACES)) if number == max(second) else (None, None)),
            "a warm turn",
            spread(warm),
        )
        for number, name in names.items()
    ]


async def _interruption(there: Far, environments: int, pace: Pace) -> tuple[float, list[float]]:
    async with (
        function_url(there.here.ours, limit=3) as (url, function),
        Caller(url) as caller,
        Caller(url) as again,
    ):
        # As many as allowed: AWS restores a snapshot as often as needed.
        for _ in range(2):
            await function.publish()
        if environments:
            await caller.warm(environments)
        caller.ask_and_leave(5, BUSY)
        await asyncio.sleep(HEARD_S)
        first_ms = (await again.ask(5, pace)).first_s * 1000
        return first_ms, await _warm_turns(again, pace)


async def _warm_turns(caller: Caller, pace: Pace) -> list[float]:
    return [(await caller.ask(5, pace)).first_s * 1000 for _ in range(WARM_TURNS)]


def _limits(ms: int) -> tuple[float | None, float | None]:
    return (1.15, 1.05) if ms == max(PACES) else (None, None)
