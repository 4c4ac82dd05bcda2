"""The app against its own OpenAPI document, with Schemathesis's requests from the schemas.

The scripted upstream answers every request, so each failure is ours. The same requests are
made each time; the document alone decides what is valid.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from completions.keys import secret_cache
from completions.web import openapi
from local.scripted.upstream import ScriptedUpstream
from tests.support.deployment import AUTHORIZED, CALM, deploy, served

EXAMPLES = 40
SHOWN = {"Authorization": AUTHORIZED["authorization"]}
"""The spelling that Schemathesis looks for when it tries a request without a key."""
DOCUMENT = schemathesis.openapi.from_dict(openapi.document())
OPERATIONS = {
    found.ok().label: found.ok() for found in DOCUMENT.get_all_operations() if isinstance(found, Ok)
}
WARM = "POST /v1/warm"
TURNS = [label for label in OPERATIONS if label.startswith("POST") and label != WARM]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The app, served from another thread, since Schemathesis calls it from this one."""
    ready: list[str] = []
    begun, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with (
            ScriptedUpstream(responses=True) as upstream,
            served(deploy(upstream.base_url, **CALM)) as address,
        ):
            ready.append(address)
            begun.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    # Every wrong key may read the secret at once, so that no example waits.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secret_cache, "LOOK_EVERY_S", 0.0)
        thread.start()
        try:
            assert begun.wait(30)
            yield ready[0]
        finally:
            over.set()
            thread.join()


def _hold(label: str, mode: GenerationMode, url: str, **fields: Any) -> set[tuple[int, str]]:
    """Make the requests, check each answer against the document, return the statuses that came."""
    seen = set()
    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=OPERATIONS[label].as_strategy(mode))
        def run(case: Any) -> None:
            if fields:
                case.body |= fields
            # A deliberately wrong key stays wrong.
            wrong = mode is GenerationMode.NEGATIVE and "Authorization" in (case.headers or {})
            shown = {} if wrong else SHOWN
            answer = case.call_and_validate(base_url=url, session=session, headers=shown)
            seen.add((answer.status_code, answer.headers["content-type"][0].partition(";")[0]))

        run()
    return seen


@pytest.mark.parametrize("stream", [True, False, None])
@pytest.mark.parametrize("label", TURNS)
def test_valid_requests_are_answered_as_documented(
    label: str, stream: bool | None, url: str
) -> None:
    """Each valid request is accepted, and its answer is as described."""
    seen = _hold(label, GenerationMode.POSITIVE, url, stream=stream)
    assert seen == {(200, "text/event-stream" if stream else "application/json")}


ONE_MODEL = "GET /v1/models/{model}"


@pytest.mark.parametrize("label", sorted({*OPERATIONS} - {*TURNS, ONE_MODEL}))
def test_other_operations_are_answered_as_documented(label: str, url: str) -> None:
    """Every other operation answers as described and needs a key."""
    assert _hold(label, GenerationMode.POSITIVE, url) == {(200, "application/json")}


def test_an_unknown_model_is_answered_as_documented(url: str) -> None:
    """An unknown model gets OpenAI's error object, whatever its name."""
    assert _hold(ONE_MODEL, GenerationMode.POSITIVE, url) == {(404, "application/json")}


@pytest.mark.parametrize("label", TURNS)
def test_invalid_requests_are_refused_as_documented(label: str, url: str) -> None:
    """Each invalid request gets OpenAI's error object, and no 5xx."""
    assert (400, "application/json") in _hold(label, GenerationMode.NEGATIVE, url)
