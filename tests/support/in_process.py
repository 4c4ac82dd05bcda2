"""A scripted upstream without sockets, for tests in virtual time.

`PlayedUpstream` stands in for `completions.upstream.client.Upstream`: it plays the scripts of
`script` as `upstream.ScriptedUpstream` does over sockets, records the same requests, and raises the
errors that the real client would raise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from completions.errors import CompletionsError, UpstreamUnavailable
from completions.settings import Candidate
from completions.sse import Decoder, ServerSentEvent
from completions.upstream.exchange import Exchange
from completions.upstream.refusals import to_error
from local.scripted.script import Cut, Head, Raw, Reply
from local.scripted.script_player import RecordedRequest, Scene, Stage, perform
from local.scripted.wires import wire_for


class PlayedUpstream:
    """The upstream, and a fallback if one is given; each plays its own scenes.

    played = PlayedUpstream([At(400), *answer()], fallback=refused(429))
    played.requests                     # of all candidates, in the order of their arrival
    played.stage("fallback").plays(…)   # what the fallback plays from now on
    """

    def __init__(self, *scenes: Scene, fallback: Scene | None = None) -> None:
        self.requests: list[RecordedRequest] = []
        self._stages = {"upstream": Stage(*scenes)}
        if fallback is not None:
            self._stages["fallback"] = Stage(fallback)

    @property
    def names(self) -> set[str]:
        """Return the keys of the candidates: `upstream`, and `fallback` if there is one."""
        return set(self._stages)

    def stage(self, candidate: str) -> Stage:
        """Return what one candidate will play and which requests it had."""
        return self._stages[candidate]

    has_idle = True
    """See `Upstream.has_idle`: there are no connections."""

    async def end_openings(self) -> None:
        """See `Upstream.end_openings`."""

    async def events(
        self, candidate: Candidate, path: str, body: dict[str, Any], exchange: Exchange
    ) -> AsyncGenerator[list[ServerSentEvent]]:
        """See `Upstream.events`."""
        exchange.sent_at = asyncio.get_running_loop().time()
        now = asyncio.get_running_loop().time
        request = RecordedRequest(
            "POST", path, [], json.dumps(body).encode(), now(), candidate=candidate.key
        )
        stage = self._stages[candidate.key]
        self.requests.append(request)
        await stage.note(request)
        if exchange.on_written is not None:
            exchange.on_written()
        decoder = Decoder()
        try:
            async with aclosing(
                perform(stage.next_script(request), wire_for(request), request.at)
            ) as acts:
                async for act in acts:
                    if exchange.headers_at is None and isinstance(act, Head | Reply | Raw):
                        exchange.headers_at = now()
                    match act:
                        case Cut():
                            request.finished = True
                            raise UpstreamUnavailable("The upstream's connection broke.")
                        case Reply(body=data, status=status) as reply:
                            request.finished = True
                            if status >= 400:
                                raise _refusal(reply)
                            yield [ServerSentEvent(b"", data)]
                            return
                        case Raw(packet):
                            if events := decoder.feed(packet):
                                yield events
                        case Head():
                            pass
            request.finished = True
            if events := decoder.flush():
                yield events
        finally:
            request.leave()

    async def get(self, candidate: Candidate, path: str) -> bytes:
        """See `Upstream.get`."""
        return b'{"object":"list","data":[]}'

    def warm(self) -> None:
        """See `Upstream.warm`."""

    def forget(self) -> None:
        """See `Upstream.forget`."""

    async def close(self) -> None:
        """See `Upstream.close`."""


def asked_at_ms(upstream: PlayedUpstream) -> list[tuple[int, str]]:
    """Return each request's candidate, and its milliseconds after the first request."""
    first = upstream.requests[0].at
    return [(round((seen.at - first) * 1000), seen.candidate) for seen in upstream.requests]


def cancelled_at_ms(upstream: PlayedUpstream) -> list[int | None]:
    """Return when each request was cancelled, or None for one that ended."""
    first = upstream.requests[0].at
    return [
        None if seen.hung_up_at is None else round((seen.hung_up_at - first) * 1000)
        for seen in upstream.requests
    ]


def _refusal(reply: Reply) -> CompletionsError:
    return to_error(reply.status, reply.headers, reply.body, key="")
