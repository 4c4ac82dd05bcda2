"""One HTTP request on its own connection, with the time of every socket read.

Built on sockets and `http.client`'s parser, because libraries hide when bytes arrive and how a
connection ended. Does not use the environment's proxies, and does not know what is asked.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ops.pasted_url import Address

READ_BYTES = 65536
BODY_LIMIT_BYTES = 8 * 1024 * 1024
"""No turn's answer is larger; a server that never ends must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a body, and when the socket read returned that completed them."""

    at_ms: float
    data: bytes


@dataclass(slots=True)
class Exchange:
    """One request and what came back. Times are milliseconds from the request's first byte."""

    connect_ms: float | None = None
    """Name, TCP and TLS, before the request began; None if there was no connection."""
    status: int = 0
    """0 if no answer came."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    pieces: list[Piece] = field(default_factory=list)
    first_byte_ms: float | None = None
    """When the status line came."""
    ended_ms: float = 0.0
    trouble: str = ""
    """Empty, or how it broke: `dns`, `refused`, `unreachable`, `tls_certificate`, `tls`,
    `timeout`, `closed`, `not_http`, `cut`."""
    detail: str = ""
    left: bool = False
    """True if we hung up on purpose."""

    @property
    def body(self) -> bytes:
        """All of the body that came."""
        return b"".join(piece.data for piece in self.pieces)


class Running:
    """Lets another thread follow one running exchange: when it began, and how to hang up.

    Times are `time.monotonic`'s, in seconds.
    """

    def __init__(self) -> None:
        self.began_at: float | None = None
        """When the request's first byte was sent; None before that."""
        self.on_opened: Callable[[], None] = lambda: None
        """Called when `began_at` is known."""
        self.left = False
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()

    def opened(self, connection: socket.socket, began_at: float) -> None:
        """Set the connection that can be hung up from now on."""
        with self._lock:
            self._connection, self.began_at = connection, began_at
            left = self.left
        self.on_opened()
        if left:
            self.hang_up()

    def hang_up(self) -> None:
        """End the exchange now, whatever it waits for; do nothing if it has ended."""
        with self._lock:
            self.left = True
            connection = self._connection
        if connection is not None:
            # NOTE: bypasses TLS, whose own shutdown would end the session during a read.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Broken(Exception):
    def __init__(self, trouble: str, detail: str) -> None:
        super().__init__(trouble)
        self.trouble, self.detail = trouble, detail


class _Timed(io.RawIOBase):
    """The socket's reading side: remembers when a read returned, and ends at the deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self.read_at = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_left(self._deadline))
        count = self._connection.recv_into(buffer)
        self.read_at = time.monotonic()
        return count

    def makefile(self, _: str) -> io.BufferedReader:
        """Return the file that `http.client` asks a socket for."""
        return io.BufferedReader(self, READ_BYTES)


def exchange(
    address: Address,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    body: bytes = b"",
    timeout_s: float,
    enough: Callable[[Sequence[Piece]], bool] | None = None,
    running: Running | None = None,
) -> Exchange:
    """Make one request, from connecting to the end, within `timeout_s`; never raise for failures.

    `enough` is called after each piece; when it returns True, the connection is closed in
    mid-answer. `running` lets another thread hang up at any time.
    """
    result = Exchange()
    deadline = time.monotonic() + timeout_s
    try:
        began = time.monotonic()
        with _connect(address, deadline) as connection:
            result.connect_ms = (time.monotonic() - began) * 1000
            began = time.monotonic()
            if running is not None:
                running.opened(connection, began)
            try:
                _send(connection, _request(address, method, path, headers, body), deadline)
                _receive(connection, result, began, deadline, enough)
            finally:
                result.ended_ms = (time.monotonic() - began) * 1000
    except _Broken as broken:
        result.trouble, result.detail = broken.trouble, broken.detail
    if running is not None and running.left:
        result.trouble, result.detail, result.left = "", "", True
    return result


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(address: Address, deadline: float) -> socket.socket:
    try:
        connection = socket.create_connection((address.host, address.port), _left(deadline))
    except socket.gaierror as error:
        raise _Broken("dns", f"{address.host}: {error.strerror}") from error
    except UnicodeError as error:
        raise _Broken("dns", f"{address.host}: no host can be called that") from error
    except ConnectionRefusedError as error:
        raise _Broken("refused", f"{address.authority}: connection refused") from error
    except TimeoutError as error:
        raise _Broken("unreachable", f"{address.authority}: no connection in time") from error
    except OSError as error:
        raise _Broken("unreachable", f"{address.authority}: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not address.tls:
        return connection
    try:
        connection.settimeout(_left(deadline))
        context = ssl.create_default_context()
        return context.wrap_socket(connection, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise _Broken("tls_certificate", error.verify_message) from error
    except OSError as error:
        connection.close()
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise _Broken("tls", str(reason)) from error


def _request(
    address: Address, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    fields = {"host": address.authority, **headers, "connection": "close"}
    if method == "POST":
        fields["content-length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _send(connection: socket.socket, request: bytes, deadline: float) -> None:
    try:
        connection.settimeout(_left(deadline))
        connection.sendall(request)
    except TimeoutError as error:
        raise _Broken("timeout", "the request was not taken in time") from error
    except OSError:
        # A server that answered early (413) stops reading, but its answer may be there.
        pass


def _receive(
    connection: socket.socket,
    result: Exchange,
    began: float,
    deadline: float,
    enough: Callable[[Sequence[Piece]], bool] | None,
) -> None:
    timed = _Timed(connection, deadline)
    response = http.client.HTTPResponse(timed)  # type: ignore[arg-type] # makefile is all it needs
    received = 0
    try:
        response.begin()
        result.status = response.status
        result.headers = {name.lower(): value for name, value in response.getheaders()}
        result.first_byte_ms = (timed.read_at - began) * 1000
        length = None if response.chunked else response.length
        while length is None or received < length:
            data = response.read1(READ_BYTES)
            if not data:
                break
            received += len(data)
            result.pieces.append(Piece((timed.read_at - began) * 1000, data))
            if enough is not None and enough(result.pieces):
                result.left = True
                return
            if received > BODY_LIMIT_BYTES:
                raise _Broken("endless", f"more than {BODY_LIMIT_BYTES} bytes")
        if length is not None and received < length:
            raise _Broken("cut", f"{received} of {length} bytes came")
    except TimeoutError as error:
        waited = f"after {time.monotonic() - began:.1f} s"
        what = f"{received} bytes of the answer" if result.status else "nothing"
        raise _Broken("timeout", f"{what} came, {waited} we left") from error
    except http.client.IncompleteRead as error:
        raise _Broken("cut", f"the connection ended after {received} bytes") from error
    except (http.client.RemoteDisconnected, ConnectionError) as error:
        trouble = "cut" if result.status else "closed"
        raise _Broken(trouble, f"the connection ended after {received} bytes") from error
    except http.client.HTTPException as error:
        raise _Broken("not_http", f"{type(error).__name__}: {error}"[:120]) from error
    except (OSError, ValueError) as error:
        raise _Broken("cut" if result.status else "closed", str(error)[:120]) from error
    finally:
        with suppress(OSError):
            response.close()
