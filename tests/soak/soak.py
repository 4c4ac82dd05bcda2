"""Run the soak: thousands of turns of all kinds, many at once, each followed by a healthy one.

A turn is the function's own `Turn`, with its race and its real upstream client, in virtual time
over memory; some run over sockets. Turns of one environment share what it learns, so that a wrong
lesson shows in the next healthy turn. A seed makes a run repeatable; each turn has its own
generator.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import looptime

from completions.dialects import chat, responses
from completions.observability import log
from completions.upstream.client import Upstream
from tests.soak.checker import BUFFER_WORDS, TurnRequest, Verdict, judge
from tests.soak.heard import hear
from tests.soak.kinds.kind import HEALTHY, Kind
from tests.soak.kinds.table import KINDS
from tests.soak.known import KNOWN
from tests.soak.script import TOOL
from tests.soak.summary import Flatness, Summary
from tests.soak.upstream import Scene, SoakUpstream
from tests.support.turns import Caller, Heard

LANES = 8
"""Turns at once."""
LEGS = 5
"""Parts of a run; between them no turn runs, and memory is measured."""
SHAPES = ("single", "fallback", "single, chat only", "fallback, chat only")
TIMERS = (
    "buffer_words_after_ms",
    "first_token_timeout_ms",
    "reasoning_timeout_ms",
    "turn_budget_ms",
    "tool_turn_budget_ms",
    "stall_timeout_ms",
)
LIMIT_S, REAL_LIMIT_S = 4000.0, 100.0
"""A longer turn is given up: far more than the checker allows or a machine needs."""
SOCKET_SHARE = 20
"""One of so many turns is played over sockets, too."""

_lines: ContextVar[list[str] | None] = ContextVar("_lines", default=None)


class _OneKey:
    """The upstream's key, which never changes."""

    async def upstream_key(self, name: str) -> str:
        return "sk-soak"

    def may_be_stale(self, name: str, status: int) -> bool:
        return status == 401

    async def newer_upstream_key(self, name: str, *, refused: str) -> str | None:
        return None


class _Client(Upstream):
    """The real client, as `Caller` needs it."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(_OneKey())  # type: ignore[arg-type]
        self.names = names


class Environment:
    """An execution environment and its callers."""

    def __init__(self, shape: str, *, virtual: bool) -> None:
        """Create one; in real time no timer fires, since the machine may be busy."""
        self.shape = shape
        settings: dict[str, Any] = {} if virtual else dict.fromkeys(TIMERS, 0)
        names = {"upstream", "fallback"} if shape.startswith("fallback") else {"upstream"}
        self.client = _Client(names)
        self.caller = Caller(self.client, buffer_words=BUFFER_WORDS, **settings)  # type: ignore[arg-type]
        self.sick = False
        """A healthy turn failed here, so later failures would only repeat it."""


_OWNERS = "upstream.misconfigured"
"""The deployment owner's error, not ours."""


class _Log:
    """Keeps log records of bugs in the product, by the turn whose task logged them."""

    def write(self, line: str) -> None:
        lines = _lines.get()
        bug = '"level":"ERROR"' in line and _OWNERS not in line
        if lines is not None and ("crashed" in line or bug):
            event = json.loads(line)
            lines.append(f"{event['message']}: {str(event.get('exception', ''))[-250:]}")

    def flush(self) -> None:
        """There is nothing to flush."""


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """There is nothing to flush."""


@contextmanager
def quiet(log_to: _Log) -> Iterator[None]:
    """Take log and metrics away from stdout."""
    handler: Any = log.registered_handler
    before = handler.setStream(log_to)
    # pytest would keep every line.
    propagates, log._logger.propagate = log._logger.propagate, False
    try:
        with redirect_stdout(_Nowhere()):
            yield
    finally:
        handler.setStream(before)
        log._logger.propagate = propagates


@dataclass(frozen=True, slots=True)
class Plan:
    """What the soak plays."""

    turns: int = 2000
    seed: int = 1
    only: str = ""
    """Kinds with this in their names; empty: all."""
    sockets: bool = True
    """Also play some turns over sockets, in real time."""
    known: bool = True
    """Count violations of known kinds separately."""


def run(plan: Plan) -> Summary:
    """Play a whole soak."""
    summary = Summary(plan.seed)
    chance = random.getstate()
    random.seed(plan.seed)  # The product's own jitter.
    # Earlier objects are not the soak's, and each collection need not visit them.
    gc.freeze()
    with quiet(_Log()):
        with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0)) as runner:
            runner.run(_Soak(plan, summary).over_memory())
        if plan.sockets and plan.turns >= SOCKET_SHARE:
            with asyncio.Runner() as runner:
                runner.run(_Soak(plan, summary).over_sockets())
    gc.unfreeze()
    random.setstate(chance)
    return summary


class _Soak:
    def __init__(self, plan: Plan, summary: Summary) -> None:
        self._plan, self._summary = plan, summary
        self._upstream = SoakUpstream()
        self._kinds = [kind for kind in KINDS.values() if plan.only in kind.name]
        assert self._kinds, f"no kind is called {plan.only!r}"
        self._environments: dict[str, Environment] = {}
        self._number = 0
        self._deck: list[Kind] = []
        self._virtual = True

    async def over_memory(self) -> None:
        with self._upstream.in_memory():
            for _ in range(LEGS):
                await self._leg(self._plan.turns // LEGS)
                await self._settle()
                assert not self._upstream.bugs, self._upstream.bugs[0]
                self._summary.flat.append(_measured(self._upstream))
        await self._close()

    async def over_sockets(self) -> None:
        self._virtual = False
        before = _measured(self._upstream)
        port = await self._upstream.listen()
        with self._upstream.over_sockets(port):
            await self._leg(self._plan.turns // SOCKET_SHARE)
        assert not self._upstream.bugs, self._upstream.bugs[0]
        await self._close()
        self._summary.sockets = before, _measured(self._upstream)

    async def _leg(self, turns: int) -> None:
        left = iter(range(turns // 2))
        lanes = LANES if self._virtual else 2 * LANES
        await asyncio.gather(*(self._lane(number, left) for number in range(lanes)))

    async def _lane(self, number: int, left: Iterator[int]) -> None:
        shape = SHAPES[number % len(SHAPES)]
        for _ in left:
            kind = self._draw(shape)
            known = self._plan.known and kind.name in KNOWN
            environment = self._environments.get(shape)
            if known:
                environment = self._new(shape)
            elif environment is None or environment.sick:
                environment = self._environments[shape] = self._new(shape)
            streak = await self._turn(kind, environment, kind.name)
            after = await self._turn(HEALTHY, environment, kind.name, streak)
            if after.violations:
                environment.sick = True
            if known or environment.sick:
                await environment.client.close()

    def _new(self, shape: str) -> Environment:
        return Environment(shape, virtual=self._virtual)

    def _draw(self, shape: str) -> Kind:
        """Return the next kind that suits the environment; all come once before any is repeated."""
        chat_only = shape.endswith("chat only")
        for _ in range(2):
            for position, kind in enumerate(self._deck):
                if "chat" in kind.apis or not chat_only:
                    return self._deck.pop(position)
            random.Random(f"{self._plan.seed} {self._number}").shuffle(self._kinds)
            self._deck += [kind for kind in self._kinds if self._virtual or _is_quick(kind)]
        return HEALTHY

    async def _turn(
        self,
        kind: Kind,
        environment: Environment,
        blamed: str,
        before: TurnRequest | None = None,
    ) -> Any:
        self._number += 1
        number = self._number
        rng = random.Random(f"{self._plan.seed}/{number}")
        request = _ask(number, kind, environment.shape, rng, virtual=self._virtual)
        whom = ("first", "first", "each", "upstream")
        affects = rng.choice(whom if environment.shape.startswith("fallback") else whom[:3])
        scene = self._upstream.scenes[number] = Scene(number, kind, affects, rng)
        lines: list[str] = []
        token = _lines.set(lines)
        loop = asyncio.get_running_loop()
        started = loop.time()
        crash = ""
        got = Heard()
        try:
            async with asyncio.timeout(LIMIT_S if self._virtual else REAL_LIMIT_S):
                got = await environment.caller.post(
                    _body(request, rng),
                    dialect=chat if request.chat else responses,
                    on_failure="speak" if request.speak else "error",
                    remaining_s=None
                    if request.remaining_ms is None
                    else request.remaining_ms / 1000,
                    hang_up_ms=request.hang_up_ms,
                )
        except Exception as error:
            crash = repr(error)
        finally:
            _lines.reset(token)
        over_ms = round((loop.time() - started) * 1000)
        await asyncio.sleep(0.001)  # Lets the upstream notice that the caller has left.
        heard = hear(
            got.status, got.headers, got.pieces, chat=request.chat, streamed=request.streamed
        )
        verdict = (
            Verdict("crash", [("a crash", crash)])
            if crash
            else judge(request, scene, heard, status=got.status, over_ms=over_ms, logged=lines)
        )
        if not self._virtual:
            verdict.violations = [one for one in verdict.violations if one[0] not in _OF_TIME]
        del self._upstream.scenes[number]
        self._summary.add(
            request,
            scene,
            verdict,
            blamed,
            known=self._plan.known and blamed in KNOWN,
            echo=environment.sick,
        )
        return verdict

    async def _settle(self) -> None:
        """Wait until no turn runs; kept connections stay open."""
        await asyncio.sleep(5)

    async def _close(self) -> None:
        for environment in self._environments.values():
            await environment.client.close()
        await self._upstream.close()


_OF_TIME = {"silence", "a healthy answer came late", "asked again at once", "words lost"}
"""What a busy machine may cause in real time: a reset drops unread bytes."""


def _is_quick(kind: Kind) -> bool:
    """Return True if a kind never waits; kinds that wait need virtual time."""
    slow = ("for long", "amid words", "before words", "late", "silent", "slow", "end", "stall")
    return not any(word in kind.name for word in slow) and "a while" not in kind.name


def _ask(number: int, kind: Kind, shape: str, rng: random.Random, *, virtual: bool) -> TurnRequest:
    chat_only = shape.endswith("chat only")
    api = rng.choice(("chat", "responses"))
    if not chat_only and api not in kind.apis:
        (api,) = kind.apis
    streamed = kind.streams if kind.streams is not None else rng.random() < 0.8
    tools = kind.tools if kind.tools is not None else rng.random() < 0.3
    whole = kind is HEALTHY or not virtual
    return TurnRequest(
        number,
        chat=api == "chat",
        streamed=streamed,
        speak=rng.random() < 0.8,
        tools=tools,
        shape=shape,
        remaining_ms=rng.choice((None, None, rng.randint(6000, 60_000))) if not whole else None,
        hang_up_ms=rng.randint(1, 6000) if not whole and rng.random() < 0.06 else None,
        chained=shape == "single" and api == "responses" and rng.random() < 0.3,
    )


def _body(request: TurnRequest, rng: random.Random) -> dict[str, Any]:
    system = "Chat completions only." if request.shape.endswith("chat only") else "Be brief."
    turn = f"Turn {request.number}. What is the weather?"
    body: dict[str, Any] = {"model": "m", "stream": request.streamed}
    if request.chat:
        body["messages"] = [
            {"role": "system", "content": system},
            {"role": "user", "content": turn},
        ]
        if request.streamed and rng.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
        if request.tools:
            body["tools"] = [{"type": "function", "function": TOOL}]
    else:
        body |= {"instructions": system, "input": [{"role": "user", "content": turn}]}
        if request.tools:
            body["tools"] = [{"type": "function", **TOOL}]
        if request.chained:
            body["previous_response_id"] = f"resp_of_{request.number}"
    if rng.random() < 0.3:
        body |= {"temperature": 0.3, "max_tokens" if request.chat else "max_output_tokens": 200}
    return body


def _measured(upstream: SoakUpstream) -> Flatness:
    gc.collect()
    process = Path("/proc/self")
    seen = process.exists()
    pages = int((process / "statm").read_text().split()[1]) if seen else 0
    return Flatness(
        blocks=sys.getallocatedblocks(),
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        descriptors=len(list((process / "fd").iterdir())) if seen else 0,
        # Kept connections are idle; each is a task of the upstream's.
        tasks=len(asyncio.all_tasks()) - upstream.connections,
    )
