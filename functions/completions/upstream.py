"""The model: one request to an OpenAI-compatible server, its answer as frames.

With `connections` the only module that knows `openai` and `httpx2`; both are imported on first
use, because they cost more start-up time than all the rest. Frames are handed on as bytes:
parsing each into the SDK's models costs seven times the CPU of relaying them (measured
2026-11-22).
Knows nothing of turns: no retries, no fallback, no timers of its own beyond the connection's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from completions.account import Exchange
from completions.connections import Connections, Pool
from completions.credentials import Keys
from completions.distrust import (
    Allowance,
    key_in,
    passed_on,
    shown_message,
    shown_name,
    whole,
    without,
)
from completions.errors import (
    CompletionsError,
    UpstreamAuth,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from completions.observability import log, name_of
from completions.settings import Candidate
from completions.sse import Decoder, Frame

if TYPE_CHECKING:
    import httpx2
    from openai import APIStatusError, AsyncOpenAI

_FIRST_FIELDS = (b"event:", b"data:", b"id:", b":")
"""With one of these an event stream of a model begins (WHATWG HTML, section 9.2.6)."""


class Upstream:
    """Connections to the models, kept between turns. One per environment and event loop."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._connections = Connections()

    async def frames(
        self,
        candidate: Candidate,
        path: str,
        body: dict[str, Any],
        exchange: Exchange | None = None,
    ) -> AsyncGenerator[list[Frame], None]:
        """The answer's frames, as many at a time as arrived together.

        An answer that is no event stream comes as a single frame whose data is the body.
        Raises CompletionsError; what goes wrong after the first frame raises it, too. Closing the
        iterator closes the request. `exchange` is told when it was sent and when headers came.
        """
        exchange = exchange or Exchange(candidate)
        response, pool = await self._send(candidate, path, body, exchange)
        exchange.headers_at = asyncio.get_running_loop().time()
        key = key_in(response.request.headers).encode()
        try:
            with _translated():
                chunks, opening = response.aiter_raw(), b""
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    # Hand-written servers forget the header: then the first line tells.
                    chunks = response.aiter_bytes()
                    async for chunk in chunks:
                        opening += chunk
                        if len(opening.lstrip()) >= len(_FIRST_FIELDS[0]) or len(opening) > 4096:
                            break
                    if not opening.lstrip().startswith(_FIRST_FIELDS):
                        yield without(key, [Frame(b"", await whole(chunks, opening))])
                        return
                decoder = Decoder()
                allowance = Allowance(len(opening))
                if frames := decoder.feed(opening):
                    yield without(key, frames)
                # To the end, not to [DONE]: else the connection cannot be used again.
                async for chunk in chunks:
                    frames = decoder.feed(chunk)
                    allowance.spend(len(chunk), len(frames))
                    if frames:
                        yield without(key, frames)
                if frames := decoder.flush():
                    yield without(key, frames)
        finally:
            await response.aclose()
            self._connections.leave(pool)

    async def get(self, candidate: Candidate, path: str) -> bytes:
        """The JSON answer to a GET, as bytes. Raises CompletionsError."""
        response, pool = await self._send(candidate, path, None, Exchange(candidate))
        try:
            with _translated():
                answer = await whole(response.aiter_raw())
                from_json(answer)
                return answer
        finally:
            await response.aclose()
            self._connections.leave(pool)

    def warm(self, candidates: Iterable[Candidate]) -> None:
        """Does what a first turn would do, as far as it needs no network and no key."""
        for candidate in candidates:
            self._connections.prepare(candidate.base_url)

    async def close(self) -> None:
        """Closes every connection."""
        await self._connections.close()

    def forget(self) -> None:
        """Drops the connections without a word: after a restore they are dead."""
        self._connections.forget()

    async def _send(
        self, candidate: Candidate, path: str, body: dict[str, Any] | None, exchange: Exchange
    ) -> tuple[httpx2.Response, Pool]:
        from openai import AuthenticationError

        key = await self._keys.upstream(candidate.key)
        exchange.sent_at = asyncio.get_running_loop().time()
        with _translated():
            try:
                return await self._request_reusing(candidate, path, body, key)
            except AuthenticationError:
                # The key may have been rotated since it was read: once more with a newer one.
                newer = await self._keys.renewed_upstream(candidate.key, refused=key)
                if newer is None:
                    raise
                return await self._request_reusing(candidate, path, body, newer)

    async def _request_reusing(
        self, candidate: Candidate, path: str, body: dict[str, Any] | None, key: str
    ) -> tuple[httpx2.Response, Pool]:
        """A request whose kept connection turns out to be dead is repeated at once, on a new one.

        Nothing had come back, so nothing was answered twice; it is no attempt of the turn's.
        """
        import httpx2
        from openai import APIConnectionError

        reused = self._connections.kept(candidate.base_url)
        try:
            return await self._request(candidate, path, body, key)
        except APIConnectionError as error:
            broken = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
            if not reused or not isinstance(error.__cause__, broken):
                raise
            log.info("upstream.reconnected", base_url=candidate.base_url)
            self._connections.drop(candidate.base_url)
            return await self._request(candidate, path, body, key)

    async def _request(
        self, candidate: Candidate, path: str, body: dict[str, Any] | None, key: str
    ) -> tuple[httpx2.Response, Pool]:
        pool = self._connections.take(candidate.base_url)
        try:
            return await _request_on(pool.client, path, body, key), pool
        except BaseException:
            self._connections.leave(pool)
            raise


async def _request_on(
    client: AsyncOpenAI, path: str, body: dict[str, Any] | None, key: str
) -> httpx2.Response:
    import httpx2
    from openai import AsyncStream

    headers = {"authorization": f"Bearer {key}", "accept-encoding": "identity"}
    if body is None:
        listed: Any = await client.get(
            path,
            cast_to=httpx2.Response,
            options={"headers": headers},
            stream=True,
            stream_cls=AsyncStream,
        )
        found: httpx2.Response = listed
        return found
    # The cheapest way to the SDK's raw stream; its errors, its headers, no models per chunk.
    headers["content-type"] = "application/json"
    # With this `cast_to` the answer is the raw response, whatever `stream_cls` promises.
    answer: Any = await client.post(
        path,
        cast_to=httpx2.Response,
        # JSON has no Infinity; null is what JavaScript writes for it.
        content=to_json(body, inf_nan_mode="null"),
        options={"headers": headers},
        stream=True,
        stream_cls=AsyncStream,
    )
    response: httpx2.Response = answer
    return response


@contextmanager
def _translated() -> Iterator[None]:
    """One table from the libraries' errors to ours; the cause is kept.

    The SDK translates what happens before the body, httpx2 raises its own while it is read.
    """
    import httpx2
    from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

    try:
        yield
    except APIStatusError as error:
        raise _refusal(error) from error
    except APITimeoutError as error:
        raise UpstreamTimeout("The upstream did not answer in time.") from error
    except APIConnectionError as error:
        if isinstance(error.__cause__, httpx2.DecodingError):
            raise UpstreamUnavailable("The upstream's answer is compressed, unasked.") from error
        raise UpstreamUnavailable("The upstream cannot be reached.") from error
    except httpx2.TimeoutException as error:
        raise UpstreamTimeout("The upstream fell silent in mid-answer.") from error
    except httpx2.HTTPError as error:
        raise UpstreamUnavailable("The upstream's connection broke in mid-answer.") from error
    except (APIError, ValueError) as error:
        raise UpstreamUnavailable("The upstream's answer cannot be understood.") from error


def _refusal(error: APIStatusError) -> CompletionsError:
    """The upstream's own error, with its status; our key's refusal is ours to answer for."""
    status = error.status_code
    log.warning(
        "upstream.refused", status=status, code=name_of(error.code), param=name_of(error.param)
    )
    if status in {401, 403}:
        return UpstreamAuth(
            f"The upstream refuses this deployment's key ({status}). "
            "The operator sets a valid one with `make upstream-key`."
        )
    if not 400 <= status < 600:
        hint = " Redirections are not followed: set its new address." if status < 400 else ""
        return UpstreamUnavailable(f"The upstream answered {status}, which is no answer.{hint}")
    details = error.body if isinstance(error.body, dict) else {}
    if isinstance(error.body, str) and "json" in error.response.headers.get("content-type", ""):
        details = {"message": error.body}
    key = key_in(error.request.headers)
    message = shown_message(details.get("message") or details.get("detail"), key)
    return UpstreamRefused(
        message or f"The upstream answered {status}.",
        status=status,
        error_type=shown_name(error.type, key),
        code=shown_name(error.code, key),
        param=shown_name(error.param, key),
        headers=passed_on(error.response.headers, key),
    )
