"""A proxy for the model API that misbehaves on demand: slow, sick, empty.

It is the deployment's upstream. While the model is well each request and answer passes unchanged.
Knows the two paths and what an empty answer looks like, not the deployment.
"""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, get_args

from ops.pasted_url import Address

Behaviour = Literal["well", "slow", "sick", "empty"]
BEHAVIOURS: tuple[Behaviour, ...] = get_args(Behaviour)
SLOW_S = 5.0
"""Longer than the platform's usual patience of four seconds."""
TIMEOUT_S = 120.0
_DROPPED = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}
"""Headers of the connection, not of the message (RFC 9110, section 7.6.1), or made anew."""
_CHAT_EMPTY = (
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
)


class FaultInjector:
    """Serve on loopback, in threads, until `close`."""

    def __init__(self, real: str, *, slow_s: float = SLOW_S) -> None:
        self.behaviour: Behaviour = "well"
        self.closing = threading.Event()
        self.slow_s = slow_s
        self.real = Address.parse(real)
        fault_injector = self

        class Handler(_Handler):
            owner = fault_injector

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def base_url(self) -> str:
        """The base URL for the deployment's upstream."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: FaultInjector
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Pass on a request for the models."""
        self._pass_on(b"")

    def do_POST(self) -> None:
        """Answer a turn as the chosen behaviour demands."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        match self.owner.behaviour:
            case "sick":
                self._whole(503, b'{"error":{"message":"out of order","type":"server_error"}}')
            case "empty":
                self._say_nothing(body)
            case "slow":
                self.owner.closing.wait(self.owner.slow_s)
                self._pass_on(body)
            case _:
                self._pass_on(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing: the deployment's log has the request."""

    def _pass_on(self, body: bytes) -> None:
        real = self.owner.real
        kind = http.client.HTTPSConnection if real.tls else http.client.HTTPConnection
        connection = kind(real.host, real.port, timeout=TIMEOUT_S)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _DROPPED}
        try:
            connection.request(
                self.command, real.path + self.path.removeprefix("/v1"), body or None, headers
            )
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _DROPPED | {"date", "server"}:
                    self.send_header(name, value)
            self._stream_begins()
            while piece := answer.read1(65536):
                self._piece(piece)
            self._piece(b"")
        except (OSError, http.client.HTTPException):
            # One side has gone: closing ours early tells the other.
            self.close_connection = True
        finally:
            connection.close()

    def _say_nothing(self, body: bytes) -> None:
        model = json.loads(body or b"{}").get("model", "")
        if self.path.endswith("/responses"):
            response = {"id": "resp_0", "object": "response", "created_at": 0, "model": model}
            events: list[object] = [
                {
                    "type": f"response.{status}",
                    "response": {**response, "status": state, "output": []},
                }
                for status, state in (("created", "in_progress"), ("completed", "completed"))
            ]
        else:
            base = {"id": "c0", "object": "chat.completion.chunk", "created": 0, "model": model}
            events = [{**base, **part} for part in _CHAT_EMPTY]
        data = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self._whole(200, f"{data}data: [DONE]\n\n".encode(), "text/event-stream")

    def _whole(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream_begins(self) -> None:
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
