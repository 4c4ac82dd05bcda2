"""One request to the function's own URL, which reaches another environment of it.

Uses the aiohttp session of a pool; its connection is not kept, since nobody needs it soon.
"""

from __future__ import annotations

from collections.abc import Mapping

from completions.errors import UpstreamRefused
from completions.upstream.connections import Connections, RequestTrace


async def invoke_self(
    connections: Connections, base_url: str, path: str, headers: Mapping[str, str]
) -> None:
    """Post an empty body, and return once the answer is there.

    Raises:
        UpstreamRefused: The answer's status is not 200.
        OSError, TimeoutError, aiohttp.ClientError: There is no answer.
    """
    pool = connections.acquire(base_url)
    try:
        assert pool.session is not None  # noqa: S101 - `acquire` makes it
        async with pool.session.post(
            base_url + path,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=RequestTrace(),
        ) as response:
            if response.status != 200:
                raise UpstreamRefused(
                    f"The function's own URL answers {response.status}.", status=response.status
                )
    finally:
        connections.release(pool)
        connections.drop(base_url)
