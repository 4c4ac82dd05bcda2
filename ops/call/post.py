"""One answer as it arrives, and the platform's patience for it.

A turn is one post, or the same one again if nothing came in time: `ask` makes them, reports each
word at once, and stops when told to. Times are milliseconds since the turn's first request was
sent. Does not know the call's history.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.call.agent import AgentServer, Patience
from ops.doctor import diagnosis, events, wire
from ops.doctor.strict_reader import Heard, Trouble, hear
from ops.doctor.wire import Exchange, Piece

_ENDS_EARLY = {"no_terminator", "unfinished_event", "no_finish", "silent", "empty_stream"}
"""What an answer lacks if it was cut, or if we left: these are not separate troubles."""


@dataclass(slots=True)
class Post:
    """One request of a turn, and its answer; times count from the turn's beginning."""

    number: int
    sent_at_ms: float
    came: Exchange = field(default_factory=Exchange)
    heard: Heard = field(default_factory=Heard)
    gave_up: bool = False
    """True if the platform lost patience with it."""

    @property
    def headers_at_ms(self) -> float | None:
        """When the status line came."""
        first = self.came.first_byte_ms
        return None if first is None else self.sent_at_ms + first

    @property
    def ended_at_ms(self) -> float:
        """When its connection was closed, by either side."""
        return self.sent_at_ms + self.came.ended_ms

    @property
    def speaks(self) -> bool:
        """True if it brought words or a call."""
        return bool(self.heard.text) or self.heard.called_at_ms is not None


class PostReader:
    """Reads one post's pieces as they come: `words` gets each text once, with its time."""

    def __init__(self, words: Callable[[str, float], None], called: Callable[[], None]) -> None:
        self._words = words
        self._called = called
        self._read = 0
        self._rest: list[Piece] = []
        self.responses = False

    def takes(self, pieces: Sequence[Piece]) -> None:
        """Read the new part of the body so far."""
        new = list(pieces[self._read :])
        self._read = len(pieces)
        stream = events.read([*self._rest, *new])
        ends_in = new[-1].at_ms if new else 0.0
        self._rest = [Piece(ends_in, _tail([*self._rest, *new]))]
        if not stream.events:
            return
        heard = hear(events.Stream(stream.events), responses=self.responses)
        for at_ms, text in heard.words:
            if text:
                self._words(text, at_ms)
        if heard.called_at_ms is not None:
            self._called()


class TurnPosts:
    """The posts of one turn. `ask` once, it blocks; `leave` ends it from any thread."""

    def __init__(
        self,
        server: AgentServer,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        patience: Patience,
    ) -> None:
        self.posts: list[Post] = []
        self.left_at_ms: float | None = None
        self._server = server
        self._path = path
        self._body = json.dumps(body, ensure_ascii=False).encode()
        self._headers = {
            "authorization": f"Bearer {server.key}",
            "content-type": "application/json",
            **headers,
        }
        self._patience = patience
        self._began_at: float | None = None
        self._running: wire.Running | None = None
        self._lock = threading.Lock()

    def now_ms(self) -> float:
        """Return the milliseconds since the turn's first request was sent; 0 before that."""
        return 0.0 if self._began_at is None else (time.monotonic() - self._began_at) * 1000

    def leave(self, at_ms: float | None = None) -> None:
        """Close the request now; `at_ms` is the time to note for it."""
        with self._lock:
            if self.left_at_ms is None:
                self.left_at_ms = self.now_ms() if at_ms is None else at_ms
            running = self._running
        if running is not None:
            running.hang_up()

    def ask(
        self,
        words: Callable[[str, float], None],
        on_opened: Callable[[Post], None] = lambda _: None,
    ) -> Post:
        """Post until something speaks, patience ends or `leave`; return the last post."""
        ends_at = time.monotonic() + self._patience.turn_s
        for number in range(1, self._patience.posts + 1):
            post = self._post(number, ends_at, words, on_opened)
            if self.left_at_ms is not None or post.speaks or _is_whole(post):
                break
            if time.monotonic() >= ends_at:
                break
        return self.posts[-1]

    def _post(
        self,
        number: int,
        ends_at: float,
        words: Callable[[str, float], None],
        on_opened: Callable[[Post], None],
    ) -> Post:
        running = wire.Running()
        post = Post(number, self.now_ms())
        self.posts.append(post)
        with self._lock:
            self._running = running
            if self.left_at_ms is not None:
                running.hang_up()
        something = threading.Event()

        def lose_patience() -> None:
            if not something.is_set():
                post.gave_up = True
                running.hang_up()

        timer = threading.Timer(self._patience.cascade_timeout_s, lose_patience)
        timer.daemon = True

        def word(text: str, at_ms: float) -> None:
            something.set()
            words(text, post.sent_at_ms + at_ms)

        reader = PostReader(word, something.set)
        reader.responses = self._path.endswith("/responses")

        def enough(pieces: Sequence[Piece]) -> bool:
            reader.takes(pieces)
            return False

        def opened() -> None:
            if self._began_at is None:
                self._began_at = running.began_at
            post.sent_at_ms = ((running.began_at or 0) - (self._began_at or 0)) * 1000
            on_opened(post)

        running.on_opened = opened
        timer.start()
        try:
            post.came = wire.exchange(
                self._server.address,
                "POST",
                self._path,
                headers=self._headers,
                body=self._body,
                timeout_s=max(0.1, ends_at - time.monotonic()),
                enough=enough,
                running=running,
            )
        finally:
            timer.cancel()
        post.heard = _read(post, responses=reader.responses)
        return post


def _is_whole(post: Post) -> bool:
    """Return True for a complete answer that says nothing: the platform does not ask again."""
    return post.came.status == 200 and not post.came.trouble and not post.came.left


def _read(post: Post, *, responses: bool) -> Heard:
    came = post.came
    trouble = diagnosis.of_exchange(came) if not (came.left and not came.body) else None
    if trouble is not None:
        heard = Heard()
        heard.troubles.append(trouble)
        return heard
    heard = hear(events.read(came.pieces), responses=responses)
    heard.troubles = [diagnosis.refined(each) for each in heard.troubles]
    if came.trouble or came.left:
        heard.troubles = [each for each in heard.troubles if each.cause not in _ENDS_EARLY]
    if came.trouble:
        heard.troubles.insert(0, Trouble(came.trouble, came.detail))
    return heard


def _tail(pieces: Sequence[Piece]) -> bytes:
    """Return the text after the last blank line, blanks included."""
    body = b"".join(piece.data for piece in pieces)
    return body[max((match.end() for match in events.BLANK_LINE.finditer(body)), default=0) :]
