"""The model: one request to an OpenAI-compatible server, its answer as frames.

With `connections` the only module that knows `openai` and `httpx2`; both are imported on first
use, because they cost more start-up time than all the rest. Frames are handed on as bytes:
parsing each into the SDK's models costs seven times the CPU of relaying them (measured
2026-11-22).
Knows nothing of turns: no retries, no fallback, no timers of its own beyond the connection's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from completions.account import Exchange
from completions.connections import Connections, Pool
from completions.credentials import Keys
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
PASSED_ON_HEADERS = ("retry-after", "retry-after-ms", "x-request-id")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
"""What such a header may hold: an upstream must not write our caller's headers."""
_PLAIN_LIMIT_CHARS = 128
MESSAGE_LIMIT_CHARS = 2000
ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
"""A request's 6 MB told back three times, as the Responses API does, and the longest answer."""
FRAMES_LIMIT = 100_000
"""Six for each token of the longest answer. A frame costs about a kilobyte while it is held."""


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
        try:
            with _translated():
                chunks, opening = response.aiter_raw(), b""
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    # Hand-written servers forget the header: then the first line tells.
                    chunks = response.aiter_bytes()
                    async for chunk in chunks:
                        opening += chunk
                        if len(opening.lstrip()) >= len(_FIRST_FIELDS[0]):
                            break
                    if not opening.lstrip().startswith(_FIRST_FIELDS):
                        yield [Frame(b"", opening + await _whole(chunks))]
                        return
                decoder = Decoder()
                allowance = _Allowance(len(opening))
                if frames := decoder.feed(opening):
                    yield frames
                # To the end, not to [DONE]: else the connection cannot be used again.
                async for chunk in chunks:
                    frames = decoder.feed(chunk)
                    allowance.spend(len(chunk), len(frames))
                    if frames:
                        yield frames
                if frames := decoder.flush():
                    yield frames
        finally:
            await response.aclose()
            self._connections.leave(pool)

    async def get(self, candidate: Candidate, path: str) -> bytes:
        """The JSON answer to a GET, as bytes. Raises CompletionsError."""
        response, pool = await self._send(candidate, path, None, Exchange(candidate))
        try:
            with _translated():
                answer = await _whole(response.aiter_raw())
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


class _Allowance:
    """What an answer may still bring. Raises ValueError when it is used up."""

    def __init__(self, spent_bytes: int) -> None:
        self._bytes = ANSWER_LIMIT_BYTES - spent_bytes
        self._frames = FRAMES_LIMIT

    def spend(self, size: int, frames: int) -> None:
        """Counts a chunk."""
        self._bytes -= size
        self._frames -= frames
        if self._bytes < 0 or self._frames < 0:
            log.warning("upstream.endless", frames=FRAMES_LIMIT - self._frames)
            raise ValueError("an answer without end")


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    body, allowance = bytearray(), _Allowance(0)
    async for chunk in chunks:
        allowance.spend(len(chunk), 0)
        body += chunk
    return bytes(body)


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
    message = details.get("message") or details.get("detail")
    headers = {
        name: value
        for name in PASSED_ON_HEADERS
        if len(value := error.response.headers.get(name, "")) <= _PLAIN_LIMIT_CHARS
        and _PLAIN.fullmatch(value)
    }
    return UpstreamRefused(
        _shown(message, error) if isinstance(message, str) else f"The upstream answered {status}.",
        status=status,
        error_type=_text(error.type),
        code=_text(error.code),
        param=_text(error.param),
        headers=headers,
    )


def _shown(message: str, error: APIStatusError) -> str:
    """The upstream's words, cut to a length, and without our key: some servers repeat requests."""
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    return (message.replace(key, "***") if key else message)[:MESSAGE_LIMIT_CHARS]


def _text(value: object) -> str | None:
    """A short text such as a code, a type, a field's name; nothing else."""
    return value if isinstance(value, str) and 0 < len(value) <= _PLAIN_LIMIT_CHARS else None
