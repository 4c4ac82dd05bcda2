"""One HTTP request: every read has its time, and every kind of end is distinguished."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ops.doctor.wire import Running, exchange
from ops.pasted_url import Address
from tests.support.patients import Answer, Request, serve


def test_each_piece_has_its_own_time() -> None:
    """Pieces sent apart have times apart, and the head's comes first."""
    pieces = (b"one", 1.0, b"two")
    with serve(lambda _: Answer(pieces=pieces)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10)
    assert [piece.data for piece in came.pieces] == [b"one", b"two"]
    first, second = came.pieces
    assert came.first_byte_ms is not None
    assert came.first_byte_ms <= first.at_ms <= second.at_ms - 100
    assert (came.status, came.trouble, came.left) == (200, "", False)


def test_a_dripping_answer_has_a_time_limit() -> None:
    """The time limit holds even if a server keeps sending a byte now and then."""
    drip = (b"x", 0.05) * 2000
    with serve(lambda _: Answer(pieces=drip)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=1)
    assert came.trouble == "timeout"
    assert came.body


def test_our_own_hang_up_is_no_trouble() -> None:
    """Closing the connection in mid-answer is not a trouble."""
    with serve(lambda _: Answer(pieces=(b"one", 0.2, b"two"))) as url:
        came = exchange(
            Address.parse(url), "POST", "/", headers={}, timeout_s=10, enough=lambda _: True
        )
    assert came.left
    assert [piece.data for piece in came.pieces] == [b"one"]
    assert came.trouble == ""


@pytest.mark.parametrize("pieces", [(5.0, b"one"), (b"one", 5.0, b"two")])
def test_another_thread_can_hang_up_at_any_time(pieces: tuple[bytes | float, ...]) -> None:
    """A hang-up from another thread ends the request at once, and is not a trouble."""
    running = Running()
    running.on_opened = threading.Timer(0.1, running.hang_up).start
    with serve(lambda _: Answer(pieces=pieces)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10, running=running)
    assert (came.left, came.trouble) == (True, "")
    assert 100 <= came.ended_ms < 4000


def test_a_hang_up_before_the_connection_sends_nothing() -> None:
    """A connection that opens after the hang-up is closed at once."""
    running = Running()
    running.hang_up()
    with serve(lambda _: Answer(pieces=(5.0, b"one"))) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10, running=running)
    assert came.left
    assert came.ended_ms < 4000


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (Answer(pieces=(b"one",), whole=False), "cut"),
        (Answer(headers={"content-length": "9"}, pieces=(b"one",)), "cut"),
        (Answer(headers={"content-length": "3"}, pieces=(b"one",)), ""),
        (Answer(-1), "closed"),
    ],
)
def test_a_cut_is_not_an_end(answer: Answer, trouble: str) -> None:
    """A missing last chunk, and a body shorter than its length, are cuts."""
    with serve(lambda _: answer) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10)
    assert came.trouble == trouble


def test_the_request_is_sent_as_it_is() -> None:
    """Method, path, headers and body arrive, with a content-length and `Connection: close`."""
    seen: list[Request] = []

    def server(request: Request) -> Answer:
        seen.append(request)
        return Answer()

    with serve(server) as url:
        address = Address.parse(url)
        exchange(address, "POST", "/a", headers={"x": "y"}, body=b"{}", timeout_s=10)
    (request,) = seen
    assert (request.method, request.path, request.raw) == ("POST", "/a", b"{}")
    assert request.headers == {
        "host": address.authority,
        "x": "y",
        "connection": "close",
        "content-length": "2",
    }


@contextmanager
def raw(play: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection by hand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one() -> None:
            connection, _ = listener.accept()
            with connection:
                play(connection)

        thread = threading.Thread(target=serve_one)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_an_answer_that_comes_before_the_request_is_whole_is_heard() -> None:
    """A server may refuse after the head and read no further."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    with raw(refuse) as url:
        came = exchange(
            Address.parse(url), "POST", "/", headers={}, body=b" " * 8_000_000, timeout_s=10
        )
    assert (came.status, came.trouble) == (413, "")


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x46\n"]
)
def test_another_protocol_is_named(greeting: bytes) -> None:
    """A server that does not speak HTTP gets its own cause."""
    with raw(lambda connection: connection.sendall(greeting)) as url:
        came = exchange(Address.parse(url), "GET", "/", headers={}, timeout_s=10)
    assert came.trouble == "not_http"


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless answer is cut off before it fills the memory."""
    monkeypatch.setattr("ops.doctor.wire.BODY_LIMIT_BYTES", 1000)
    with serve(lambda _: Answer(pieces=(b"x" * 500,) * 100)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10)
    assert came.trouble == "endless"
    assert len(came.body) < 70_000
