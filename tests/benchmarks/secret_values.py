"""The part of Secrets Manager that the function uses, with kept connections, as on AWS.

moto's server closes each connection after an answer, which at 30 ms would cost two more round trips
for every value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from local.wire import Exchange, Server

_BODY_LIMIT_BYTES = 65536


class SecretValues:
    """Answers GetSecretValue; `values` are the secrets by name, without previous versions."""

    def __init__(self, values: Mapping[str, Mapping[str, str]]) -> None:
        self._values = values

    def server(self) -> Server:
        """Return a server, which listens while its context is open."""
        return Server(self._handle)

    async def _handle(self, exchange: Exchange) -> None:
        request = json.loads(await exchange.body(_BODY_LIMIT_BYTES) or b"{}")
        known = request["SecretId"] in self._values
        if known and request.get("VersionStage", "AWSCURRENT") == "AWSCURRENT":
            value = json.dumps(self._values[request["SecretId"]])
            status, answer = 200, {"Name": request["SecretId"], "SecretString": value}
        else:
            status, answer = 400, {"__type": "ResourceNotFoundException", "Message": "no version"}
        await exchange.answer(status, json.dumps(answer).encode(), "application/x-amz-json-1.1")
