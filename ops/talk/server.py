"""HTTP on loopback: the page's files, its requests, and the events that it gets.

Knows routes; `request_guard` decides who may ask, `conversation` does what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from ops.talk.conversation import Conversation
from ops.talk.fault_injection import BEHAVIOURS, FaultInjector
from ops.talk.request_guard import HEADERS, RequestGuard

PAGE = Path(__file__).with_name("page")
FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "talk.css": ("talk.css", "text/css; charset=utf-8"),
} | {file.name: (file.name, "text/javascript; charset=utf-8") for file in PAGE.glob("*.js")}
BODY_LIMIT_BYTES = 256 * 1024
QUIET_S = 10.0
"""Time after which the page is told that there is no news; this also detects a closed page."""


class PageServer(ThreadingHTTPServer):
    """One page's server; `port` 0 takes any free one."""

    daemon_threads = True

    def __init__(
        self,
        conversation: Conversation,
        *,
        fault_injector: FaultInjector | None = None,
        port: int = 0,
    ) -> None:
        self.guard = RequestGuard()
        self.conversation = conversation
        self.fault_injector = fault_injector
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """The page's address, token and all."""
        return self.guard.address(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not report a browser that has gone."""


class _Handler(BaseHTTPRequestHandler):
    server_version = "talk"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a file, the events, the log or the saved call."""
        path = self._admitted("GET")
        if path is None:
            return
        if path in FILES:
            name, kind = FILES[path]
            self._answer(200, (PAGE / name).read_bytes(), kind)
        elif path == "events":
            self._events()
        elif path == "logs":
            self._answer(200, json.dumps(self._conversation.logs()).encode(), "application/json")
        elif path == "saved":
            text = self._conversation.saved()
            self._answer(200, text.encode(), "application/yaml; charset=utf-8")
        else:
            self._answer(404, b"there is no such page")

    def do_POST(self) -> None:
        """Do what the page asks for."""
        path = self._admitted("POST")
        if path is None:
            return
        length = self.headers.get("content-length") or "0"
        if not (length.isascii() and length.isdigit() and int(length[:9]) <= BODY_LIMIT_BYTES):
            self._answer(413, b"too long")
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
            known = self._do(path, body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._answer(400, str(error).encode())
            return
        self._answer(204 if known else 404, b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing: the path has the token."""

    @property
    def _conversation(self) -> Conversation:
        return cast(PageServer, self.server).conversation

    def _do(self, path: str, body: Mapping[str, Any]) -> bool:
        match path:
            case "say":
                if text := str(body["text"]).strip():
                    self._conversation.say(text)
            case "interrupt":
                self._conversation.interrupt()
            case "result":
                self._conversation.result(str(body["id"]), body["value"])
            case "begin":
                self._conversation.begin(body)
            case "behaviour":
                fault_injector = cast(PageServer, self.server).fault_injector
                if fault_injector is None or body["behaviour"] not in BEHAVIOURS:
                    raise ValueError("no such behaviour")
                fault_injector.behaviour = body["behaviour"]
                self._conversation.show_behaviour()
            case _:
                return False
        return True

    def _admitted(self, method: str) -> str | None:
        server = cast(PageServer, self.server)
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        inner, why = server.guard.admits(method, path, headers, server.server_address[1])
        if inner is None:
            self._answer(403, why.encode())
        return inner

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self._begin(status, kind)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, status: int, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("content-type", kind)

    def _events(self) -> None:
        self._begin(200, "text/event-stream; charset=utf-8")
        self.end_headers()
        version = 0
        while True:
            version, news = self._conversation.changes(version, QUIET_S)
            text = "".join(f"data: {each}\n\n" for each in news) or ": nothing new\n\n"
            self.wfile.write(text.encode())
