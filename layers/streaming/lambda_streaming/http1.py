"""As much HTTP/1.1 (RFC 9112) as a client of the Lambda Runtime API needs, on asyncio's streams.

Knows request heads, chunks and trailers on the way out; status, headers, `Content-Length` and
chunked bodies on the way in. Does not know Lambda, TLS, redirects, compression or pipelining.
Every failure is an `OSError`: `ConnectionError` when the peer is gone, `ProtocolError` when its
answer is not HTTP.
"""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

# One header line may carry a whole client context, and an event may have 6 MB: with a large buffer
# the reader need not pause the socket again and again.
_READ_BUFFER_BYTES = 1024 * 1024


class ProtocolError(OSError):
    """The peer's answer is not HTTP/1.1 as defined in RFC 9112."""


class Answer(NamedTuple):
    """A response: header names are lower-case; `reusable` if the connection stays open."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


class Connection:
    """One TCP connection. Nagle's algorithm is off, which is asyncio's documented default."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address: str) -> "Connection":
        """Connect to `host:port`; raises OSError."""
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=_READ_BUFFER_BYTES))

    @property
    def usable(self) -> bool:
        """False once the peer is known to have closed its side."""
        return not (self.writer.is_closing() or self.reader.at_eof())

    async def ask(self, request: bytes) -> Answer:
        """Send one whole request and read its answer."""
        self.writer.write(request)
        return await read_answer(self.reader)

    def close(self) -> None:
        """Abort the connection at once, dropping unsent data."""
        self.writer.transport.abort()


def request_head(
    method: str, path: str, host: str, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return the request line and headers, up to and including the empty line."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """Return one chunk; `data` must not be empty: an empty chunk ends the body (section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the end of a chunked body, with its trailer fields (section 7.1.2)."""
    lines = [f"{name}: {value}\r\n" for name, value in trailers]
    return f"0\r\n{''.join(lines)}\r\n".encode("latin-1", "replace")


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one response; interim ones (1xx) are skipped.

    Raises:
        ConnectionError: The peer closed before its answer was complete.
        ProtocolError: The answer cannot be understood.
    """
    try:
        while True:
            status, version, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
            if status >= 200:
                break
        body, ends_with_connection = await _read_body(reader, status, headers)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the connection was closed before the answer's end") from error
    except (asyncio.LimitOverrunError, ValueError) as error:
        raise ProtocolError(f"the answer is not HTTP/1.1: {error}") from error
    persistent = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
    return Answer(status, headers, body, persistent and not ends_with_connection)


def _parse_head(head: bytes) -> tuple[int, str, dict[str, str]]:
    status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    version, status = status_line.split(" ", 2)[:2]
    if not version.startswith("HTTP/1."):
        raise ValueError(f"unexpected status line {status_line!r}")
    fields = (line.partition(":") for line in lines)
    return int(status), version, {name.lower(): value.strip() for name, _, value in fields}


async def _read_body(
    reader: asyncio.StreamReader, status: int, headers: dict[str, str]
) -> tuple[bytes, bool]:
    """Return the body, and whether only the connection's close marks its end (section 6.3)."""
    if status in (204, 304):
        return b"", False
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _read_chunks(reader), False
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"])), False
    return await reader.read(), True


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailer fields are of no use here
    return bytes(body)
