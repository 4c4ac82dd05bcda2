"""The application's lifespan, once per environment."""

from __future__ import annotations

import asyncio

import pytest

from lambda_streaming.asgi import Application, Receive, Scope, Send
from lambda_streaming.failures import PlatformError
from lambda_streaming.lifespan import Lifespan

MODES = pytest.mark.parametrize("mode", ["auto", "on"])


class Patient:
    """An application that follows the protocol and records what it received."""

    def __init__(self, reply: str = "lifespan.startup.complete") -> None:
        self.heard: list[str] = []
        self.scope: Scope = {}
        self.reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.heard.append((await receive())["type"])
        scope["state"]["pool"] = "warm"
        await send({"type": self.reply, "message": "no database"})
        self.heard.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})


def stranger(error: Exception | None = None, message: str | None = None) -> Application:
    """An application that does not know the protocol."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if message:
            await send({"type": message, "status": 404, "headers": []})
        if error:
            raise error

    return application


@MODES
async def test_startup_fills_the_state_and_shutdown_is_sent(mode: str) -> None:
    """The application gets startup once, fills the state, and gets shutdown at the end."""
    application = Patient()
    lifespan = Lifespan(application, mode)
    await lifespan.startup()
    assert application.heard == ["lifespan.startup"]
    assert application.scope["type"] == "lifespan"
    assert lifespan.state == {"pool": "warm"}
    await lifespan.shutdown()
    assert application.heard == ["lifespan.startup", "lifespan.shutdown"]


async def test_off_means_off() -> None:
    """With "off" no lifespan runs, and no request gets a state."""
    application = Patient()
    lifespan = Lifespan(application, "off")
    await lifespan.startup()
    await lifespan.shutdown()
    assert application.heard == []
    assert lifespan.state is None


STRANGERS = pytest.mark.parametrize(
    "application",
    [
        stranger(AssertionError("only http")),
        stranger(),
        stranger(message="http.response.start"),
    ],
    ids=["raises", "returns", "answers with http"],
)


@STRANGERS
async def test_auto_accepts_an_application_without_lifespan(application: Application) -> None:
    """With "auto" an application may raise, return or answer as if to HTTP."""
    lifespan = Lifespan(application, "auto")
    await lifespan.startup()
    await lifespan.shutdown()


@STRANGERS
async def test_on_requires_a_lifespan(application: Application) -> None:
    """With "on", an application without lifespan is an init error."""
    with pytest.raises(PlatformError, match="has no lifespan") as caught:
        await Lifespan(application, "on").startup()
    assert caught.value.type == "Function.LifespanError"


@MODES
async def test_a_startup_that_failed_is_an_init_error(mode: str) -> None:
    """A reported startup failure is an init error with "auto" and "on"."""
    lifespan = Lifespan(Patient("lifespan.startup.failed"), mode)
    with pytest.raises(PlatformError, match=r"lifespan\.startup\.failed: no database"):
        await lifespan.startup()
    await lifespan.shutdown()


async def test_a_failing_shutdown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A failing shutdown is logged, and the environment ends."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise ValueError("cannot close")

    lifespan = Lifespan(application, "auto")
    await lifespan.startup()
    await lifespan.shutdown()
    assert "failed in its shutdown" in caplog.text
    assert "cannot close" in caplog.text


async def test_a_lifespan_that_returned_early_gets_no_shutdown() -> None:
    """A lifespan that returned after its startup gets no shutdown."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    lifespan = Lifespan(application, "auto")
    await lifespan.startup()
    await asyncio.sleep(0)
    await lifespan.shutdown()
