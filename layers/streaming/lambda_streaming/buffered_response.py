"""One answer in one piece, for events whose sender cannot take a streamed one.

It takes an answer like `ResponseStream`, and has Mangum turn it into what the sender of the event
expects. Does not know ASGI or event formats, which are Mangum's.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from lambda_streaming import failures
from lambda_streaming.failures import Failure
from lambda_streaming.handler import encode
from lambda_streaming.runtime_api import Invocation, RuntimeApi

log = logging.getLogger(__name__)


class BufferedResponse:
    """One answer: `start`, any number of `write`, `end`, then `settle`, which posts it.

    `finish` turns a dict of `status`, `headers` (pairs of bytes) and `body` into the handler's
    result. Nothing leaves before the end, so a failure at any time before it becomes a 500.
    """

    lost = False

    def __init__(
        self, api: RuntimeApi, invocation: Invocation, finish: Callable[[dict[str, Any]], Any]
    ) -> None:
        self.started = False
        self._api = api
        self._invocation = invocation
        self._finish = finish
        self._prelude: dict[str, Any] = {}
        self._body = bytearray()

    def when_lost(self, call: Callable[[], object]) -> None:
        """Do nothing: nobody reads before the end, so nobody can stop."""

    async def start(self, prelude: dict[str, Any]) -> None:
        """Keep status, headers and cookies."""
        self.started = True
        self._prelude = prelude

    async def write(self, data: bytes) -> None:
        """Keep `data`."""
        self._body += data

    def end(self, failure: Failure | None = None) -> None:
        """Complete the answer, or replace it by a failure."""
        if failure:
            self._prelude = {"statusCode": 500, "headers": {"content-type": "application/json"}}
            self._body[:] = json.dumps({"message": failure.body["errorMessage"]}).encode()

    async def settle(self) -> None:
        """Post the answer, or an error if Mangum could not convert it.

        Raises:
            RuntimeApiError: The platform says that the environment is broken.
        """
        if not self.started:
            return
        fields = self._prelude.get("headers", {}).items()
        cookies = [("set-cookie", cookie) for cookie in self._prelude.get("cookies", ())]
        headers = [[k.encode("latin-1"), v.encode("latin-1")] for k, v in (*fields, *cookies)]
        status = self._prelude["statusCode"]
        try:
            result = self._finish({"status": status, "headers": headers, "body": bytes(self._body)})
            body, content_type = encode(result)
        except Exception as error:
            log.exception("The response cannot be made ready for its event.")
            failure = failures.of_handler(error, self._invocation.request_id)
            await self._api.fail(self._invocation, failure)
        else:
            await self._api.respond(self._invocation, body, content_type)

    def abandon(self) -> None:
        """Do nothing: no resources are held."""
