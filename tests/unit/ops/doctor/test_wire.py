"""One HTTP request: every read has its time, and every end is told from the others."""

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
    """Bytes that left apart have times that lie apart; the head's is the first."""
    pieces = (b"one", 1.0, b"two")
    with serve(lambda _: Answer(pieces=pieces)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10)
    assert [piece.data for piece in came.pieces] == [b"one", b"two"]
    first, second = came.pieces
    assert came.first_byte_ms is not None
    assert came.first_byte_ms <= first.at_ms <= second.at_ms - 100
    assert (came.status, came.trouble, came.left) == (200, "", False)


def test_the_time_of_one_answer_is_bounded_however_it_drips() -> None:
    """A server that sends a byte now and then for ever is left in time."""
    drip = (b"x", 0.05) * 2000
    with serve(lambda _: Answer(pieces=drip)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=1)
    assert came.trouble == "timeout"
    assert came.body


def test_a_hang_up_of_ours_is_no_trouble() -> None:
    """Who has heard enough closes the connection in mid-answer."""
    with serve(lambda _: Answer(pieces=(b"one", 0.2, b"two"))) as url:
        came = exchange(
            Address.parse(url), "POST", "/", headers={}, timeout_s=10, enough=lambda _: True
        )
    assert came.left
    assert [piece.data for piece in came.pieces] == [b"one"]
    assert came.trouble == ""


@pytest.mark.parametrize("pieces", [(5.0, b"one"), (b"one", 5.0, b"two")])
def test_another_thread_can_hang_up_at_any_time(pieces: tuple[bytes | float, ...]) -> None:
    """It waits for no byte, before the answer or in it, and is no trouble."""
    running = Running()
    running.on_opened = threading.Timer(0.1, running.hang_up).start
    with serve(lambda _: Answer(pieces=pieces)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10, running=running)
    assert (came.left, came.trouble) == (True, "")
    assert 100 <= came.ended_ms < 4000


def test_who_hangs_up_before_there_is_a_connection_asks_nothing_long() -> None:
    """A connection that opens too late is closed at once."""
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
def test_a_cut_is_told_from_an_end(answer: Answer, trouble: str) -> None:
    """Chunks without a last one, and less than the length that was told, are cuts."""
    with serve(lambda _: answer) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10)
    assert came.trouble == trouble


def test_the_request_is_sent_as_it_is() -> None:
    """Method, path, headers and body arrive, with the length, and ask for the connection's end."""
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
    """Serves one connection by hand."""
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
    """A server that refuses by the head alone, and reads no more, is understood."""

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
    """What does not speak HTTP is not taken for a server that is ill."""
    with raw(lambda connection: connection.sendall(greeting)) as url:
        came = exchange(Address.parse(url), "GET", "/", headers={}, timeout_s=10)
    assert came.trouble == "not_http"


def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never stops does not fill the memory."""
    monkeypatch.setattr("ops.doctor.wire.BODY_LIMIT_BYTES", 1000)
    with serve(lambda _: Answer(pieces=(b"x" * 500,) * 100)) as url:
        came = exchange(Address.parse(url), "POST", "/", headers={}, timeout_s=10)
    assert came.trouble == "endless"
    assert len(came.body) < 70_000
