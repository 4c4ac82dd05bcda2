"""The Function URL: the public address of the function's processes.

Turns requests into invocations and passes answers on, each piece as it comes. As on Lambda, the
function does not notice a caller who hangs up, and runs to its end.
"""

import json

import h11

from local.environment import InitError
from local.function import Function, Throttled
from local.payload import event_of, response_of
from local.runtime_api import PAYLOAD_LIMIT_BYTES, Answer, Cut, Failure
from local.wire import Exchange


class FunctionUrl:
    """Handles requests for one function, in one invoke mode."""

    def __init__(self, function: Function, invoke_mode: str) -> None:
        self._function = function
        self._invoke_mode = invoke_mode

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        body = await exchange.body(PAYLOAD_LIMIT_BYTES)
        event = b"" if body is None else _event(exchange, body)
        if body is None or len(event) > PAYLOAD_LIMIT_BYTES:
            # The status is documented for Invoke, the text is a guess.
            await _refuse(exchange, 413, "RequestEntityTooLargeException", "Request Too Large")
            return
        answer: Answer | Failure
        try:
            invocation = await self._function.invoke(event)
        except Throttled:
            # Developer Guide, "Lambda function URLs", Throttling: 429. The text is Invoke's.
            await _refuse(exchange, 429, "TooManyRequestsException", "Rate Exceeded.")
            return
        except InitError as error:
            answer, request_id = error.failure, ""
        else:
            answer, request_id = await invocation.answer, invocation.request_id
        await self._pass_on(exchange, answer, request_id)

    async def _pass_on(self, exchange: Exchange, answer: Answer | Failure, request_id: str) -> None:
        response = await response_of(answer, self._invoke_mode)
        if request_id:
            response.headers.append(("x-amzn-requestid", request_id))
        # Responses without a body by definition (RFC 9110, sections 9.3.2, 15.3.5, 15.4.5).
        bodyless = exchange.method == "HEAD" or response.status in (204, 304)
        try:
            await exchange.start(response.status, response.headers)
            async for chunk in response.body:
                if exchange.gone:
                    break
                if not bodyless:
                    await exchange.send(chunk)
            await exchange.end()
        except (Cut, h11.LocalProtocolError):
            # Lambda does not end such a response either: the caller sees a cut connection.
            exchange.cut()
        finally:
            if isinstance(answer, Answer):
                await answer.body.discard()


def _event(exchange: Exchange, body: bytes) -> bytes:
    event = event_of(
        exchange.method,
        exchange.target,
        exchange.headers,
        body,
        exchange.peer,
        domain=exchange.address,
    )
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogateescape")


async def _refuse(exchange: Exchange, status: int, error_type: str, message: str) -> None:
    body = json.dumps({"Message": message}).encode()
    await exchange.answer(status, body, "application/json", x_amzn_errortype=error_type)
