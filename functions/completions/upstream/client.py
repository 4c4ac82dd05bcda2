"""One request to an OpenAI-compatible server, and its answer as server-sent events.

Knows aiohttp, as do `connections`, `body` and `refusals`, and no other module. It is imported on
first use, because it takes more start-up time than all the rest. The `openai` SDK's `post` over its
own transport takes 1.5 ms more processor time for a request, and seven times as much for a chunk
(measured 2026-11-22).
Knows nothing of turns: no retries, no fallback, no timers but the connection's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from completions.errors import CompletionsError, UpstreamTimeout, UpstreamUnavailable
from completions.keys.keys import Keys
from completions.observability import log
from completions.settings import Candidate
from completions.sse import Decoder, ServerSentEvent
from completions.upstream import compression, connections, refusals, self_invocation
from completions.upstream.body import body_of
from completions.upstream.connections import Connections, Pool, RequestTrace
from completions.upstream.exchange import Exchange
from completions.upstream.limits import AnswerLimit, read_whole
from completions.upstream.redaction import key_to_redact, redact_events

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_FIRST_FIELDS = (b"event:", b"data:", b"id:", b":")
"""A model's event stream begins with one of these (WHATWG HTML, section 9.2.6)."""


class _Refused(Exception):
    """A refusal as it came; `to_error` turns it into our caller's error and logs it.

    Separate, because a 401 that the retry with a newer key fixes is not logged.
    """

    def __init__(self, status: int, to_error: Callable[[], CompletionsError]) -> None:
        super().__init__(status)
        self.status = status
        self.to_error = to_error


class Upstream:
    """Asks the models, on connections kept between turns. One per environment and event loop."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._connections = Connections()

    async def events(
        self,
        candidate: Candidate,
        path: str,
        body: dict[str, Any],
        exchange: Exchange | None = None,
    ) -> AsyncGenerator[list[ServerSentEvent], None]:
        """Yield the answer's events, as many at a time as arrived together.

        An answer that is not an event stream comes as a single event without `raw`, whose data is
        the body. Closing the iterator closes the request. `exchange` notes when the request was
        sent and when the headers came.

        Raises:
            CompletionsError: There is no answer, or it broke off after some events.
        """
        exchange = exchange or Exchange(candidate)
        response, pool = await self._send(candidate, path, body, exchange)
        exchange.headers_at = asyncio.get_running_loop().time()
        key = key_to_redact(response.request_info.headers).encode()
        try:
            with _translate_errors(), body_of(response, connections.READ_TIMEOUT_S) as chunks:
                opening = b""
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    # Hand-written servers forget the header; then the first line decides.
                    async for chunk in chunks:
                        opening += chunk
                        if len(opening.lstrip()) >= len(_FIRST_FIELDS[0]) or len(opening) > 4096:
                            break
                    if not opening.lstrip().startswith(_FIRST_FIELDS):
                        whole = ServerSentEvent(b"", await read_whole(chunks, opening))
                        yield redact_events([whole], key)
                        return
                decoder = Decoder()
                limit = AnswerLimit(len(opening))
                if events := decoder.feed(opening):
                    yield redact_events(events, key)
                # To the end, not to [DONE]: otherwise the connection cannot be used again.
                async for chunk in chunks:
                    events = decoder.feed(chunk)
                    count = len(events)
                    if events:
                        yield redact_events(events, key)
                    limit.count(len(chunk), count)
                if events := decoder.flush():
                    yield redact_events(events, key)
        finally:
            # After an answer that was read to its end, the connection is back in its pool already.
            response.close()
            self._connections.release(pool)

    async def get(self, candidate: Candidate, path: str) -> bytes:
        """Return the JSON answer to a GET, as bytes.

        Raises:
            CompletionsError: There is no answer, or it is not JSON.
        """
        response, pool = await self._send(candidate, path, None, Exchange(candidate))
        try:
            with _translate_errors(), body_of(response, connections.READ_TIMEOUT_S) as chunks:
                answer = await read_whole(chunks)
                from_json(answer)
                return answer
        finally:
            response.close()
            self._connections.release(pool)

    async def invoke_self(self, base_url: str, path: str, headers: Mapping[str, str]) -> None:
        """Post an empty body to the function's own URL.

        Raises:
            CompletionsError: There is no good answer.
        """
        with _translate_errors():
            await self_invocation.invoke_self(self._connections, base_url, path, headers)

    def warm(self, candidates: Iterable[Candidate]) -> None:
        """Do what a first turn would do, as far as it needs no network and no key."""
        for candidate in candidates:
            self._connections.prepare(candidate.base_url)

    @property
    def has_idle(self) -> bool:
        """True if a connection to any model is idle."""
        return self._connections.idle

    def open(self, candidate: Candidate) -> None:
        """Begin to open a connection for the next request, unless one is idle or on its way."""
        self._connections.open(candidate.base_url)

    async def opened(self, candidate: Candidate) -> None:
        """Return once a request to this candidate would find a connection.

        Raises:
            CompletionsError: There is none to be had.
        """
        with _translate_errors():
            await self._connections.open(candidate.base_url).opened()

    async def end_openings(self) -> None:
        """Return once no connection is being opened in advance."""
        await self._connections.end_openings(connections.OPENING_WAIT_LIMIT_S)

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    def forget(self) -> None:
        """Drop the connections without closing them: after a restore they are dead."""
        self._connections.forget()

    async def _send(
        self, candidate: Candidate, path: str, body: dict[str, Any] | None, exchange: Exchange
    ) -> tuple[ClientResponse, Pool]:
        key = await self._keys.upstream_key(candidate.key)
        exchange.sent_at = asyncio.get_running_loop().time()
        with _translate_errors():
            try:
                return await self._request_with_reconnect(candidate, path, body, key, exchange)
            except _Refused as refused:
                if not self._keys.may_be_stale(candidate.key, refused.status):
                    raise
                # The key may have been rotated since it was read: ask again with a newer one.
                newer = await self._keys.newer_upstream_key(candidate.key, refused=key)
                if newer is None:
                    raise
                return await self._request_with_reconnect(candidate, path, body, newer, exchange)

    async def _request_with_reconnect(
        self,
        candidate: Candidate,
        path: str,
        body: dict[str, Any] | None,
        key: str,
        exchange: Exchange,
    ) -> tuple[ClientResponse, Pool]:
        """Send a request; if its kept connection turns out to be dead, at once on a new one.

        Nothing had come back, so nothing is answered twice, and the turn counts one request.
        """
        import aiohttp

        trace = RequestTrace(on_written=exchange.on_written)
        try:
            return await self._request(candidate, path, body, key, trace)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not trace.reused:
                raise
            log.info("upstream.reconnected", candidate=candidate.key)
            self._connections.drop(candidate.base_url)
            again = RequestTrace(on_written=exchange.on_written)
            return await self._request(candidate, path, body, key, again)

    async def _request(
        self,
        candidate: Candidate,
        path: str,
        body: dict[str, Any] | None,
        key: str,
        trace: RequestTrace,
    ) -> tuple[ClientResponse, Pool]:
        pool = self._connections.acquire(candidate.base_url)
        try:
            await pool.opened()
            return await _send_on(pool, path, body, key, trace), pool
        except BaseException:
            self._connections.release(pool)
            raise


async def _send_on(
    pool: Pool, path: str, body: dict[str, Any] | None, key: str, trace: RequestTrace
) -> ClientResponse:
    """Send a request and return the head of a good answer.

    Raises:
        _Refused: The upstream answered with an error.
        TimeoutError: No head came.
        aiohttp.ClientError: The connection failed.
    """
    assert pool.session is not None  # noqa: S101 - `acquire` makes it
    # JSON has no Infinity; null is what JavaScript writes for it.
    content = None if body is None else to_json(body, inf_nan_mode="null")
    async with asyncio.timeout(connections.READ_TIMEOUT_S):
        response = await pool.session.request(
            "GET" if body is None else "POST",
            pool.base_url + path,
            # aiohttp wants a megabyte or more as a file, which it sends piece by piece.
            data=BytesIO(content) if content and len(content) >= 1 << 20 else content,
            headers={"authorization": f"Bearer {key}"},
            # A redirection would send the conversation to a host that nobody chose.
            allow_redirects=False,
            trace_request_ctx=trace,
        )
        try:
            await _raise_for_status(response)
        except BaseException:
            response.close()
            raise
    return response


async def _raise_for_status(response: ClientResponse) -> None:
    import aiohttp

    readable = compression.is_known(response.headers.get("content-encoding", ""))
    if not 200 <= response.status < 300:
        with body_of(response, connections.READ_TIMEOUT_S) as chunks:
            body = await refusals.read_refusal(chunks) if readable else b""
        key, headers = key_to_redact(response.request_info.headers), response.headers
        raise _Refused(
            response.status, lambda: refusals.to_error(response.status, headers, body, key)
        )
    if not readable:
        raise aiohttp.ContentTypeError(
            response.request_info, (), message="compressed in an unknown way"
        )


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the libraries' errors into ours, in this one table; the cause is kept."""
    import aiohttp

    try:
        yield
    except _Refused as refused:
        raise refused.to_error() from refused
    except TimeoutError as error:
        raise UpstreamTimeout("The upstream did not answer in time.") from error
    except aiohttp.ContentTypeError as error:
        raise UpstreamUnavailable(
            "The upstream's answer is compressed although we did not ask for it."
        ) from error
    except aiohttp.ClientResponseError as error:
        raise UpstreamUnavailable("The upstream's answer is not valid HTTP.") from error
    except aiohttp.ClientPayloadError as error:
        raise UpstreamUnavailable("The upstream's connection broke in mid-answer.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamUnavailable("The upstream cannot be reached.") from error
    except ValueError as error:
        raise UpstreamUnavailable("The upstream's answer cannot be understood.") from error
