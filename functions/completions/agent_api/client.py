"""OpenAI clients whose transport is the turn.

Made without a key: the turn has it. Knows the `openai` SDK, and imports it on first use, because it
takes more start-up time than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from completions.agent_api import transport
from completions.agent_api.agent_run import RUN, Run
from completions.agent_api.client_requests import HttpAnswer, handle, refusal
from completions.errors import InvalidRequest

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

BASE_URL = "http://turn.invalid/v1"
"""The clients append their paths to it; never connected to."""
NO_KEY = "the-turn-has-it"

Client = TypeVar("Client")


def client(*, platform_tools: bool = True, run: Run | None = None) -> AsyncOpenAI:
    """Return an OpenAI client that asks the configured models, for whichever turn uses it.

    Make it once, at module level: it serves every turn, and finds the turn by the task that asks.
    The platform's tools are offered with the agent's own, and their calls go to the platform;
    without `platform_tools` only the agent's tools are offered.
    """
    import openai

    async def ask(path: str, body: bytes) -> HttpAnswer:
        return await handle(run or RUN.get(), path, body, with_platform_tools=platform_tools)

    library = transport.library_of(openai.DefaultAsyncHttpxClient)
    return sdk_client(
        openai.AsyncOpenAI,
        transport.never_closed(library.AsyncClient),
        transport.asynchronous(library, ask),
    )


def sync_client() -> OpenAI:
    """Return a blocking client for frameworks that require one; every use of it is refused.

    A blocking request would stop the event loop, and with it every other turn.
    """
    import openai

    def refuse(_: str) -> HttpAnswer:
        return refusal(
            InvalidRequest(
                "An agent asks models asynchronously: use your framework's async methods "
                "(ainvoke, astream, arun), with completions.responder.client()."
            )
        )

    library = transport.library_of(openai.DefaultHttpxClient)
    return sdk_client(openai.OpenAI, library.Client, transport.synchronous(library, refuse))


def sdk_client(
    sdk_class: Callable[..., Client], http_class: Callable[..., Any], over: Any
) -> Client:
    """Return a client of the SDK over a transport: without a key, time-outs, retries or proxies."""
    made: Any = sdk_class(
        api_key=NO_KEY,
        base_url=BASE_URL,
        max_retries=0,
        http_client=http_class(transport=over, timeout=None, trust_env=False),
    )
    # NOTE: the SDK would start a thread for each client, for a header that nobody reads.
    made._platform = "Unknown"  # noqa: SLF001
    sdk: Client = made
    return sdk
