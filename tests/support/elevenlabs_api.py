"""The part of the ElevenLabs API that `make connect` uses, on loopback: agents and secrets.

The SDK's types define its shape, and check every request and every answer. Where the documentation
is silent it is as strict as the strictest report: a patch keeps what it does not name, but replaces
an innermost object as a whole; `tools` and `tool_ids` together are refused; a secret's value is
never shown.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[2]
# Created by `make setup`, next to the environment that runs the tests.
PYTHON = Path(f"{sys.prefix}-connect") / "bin" / "python"
API_KEY = "sk_the-workspace's-own"
REPLACED_WHOLE = {"custom_llm", "overrides", "request_headers", "api_key"}


def recorded() -> dict[str, Any]:
    """Return an agent on one of the platform's models, as the API returns it."""
    return dict(json.loads((ROOT / "tests/support/elevenlabs_agent.json").read_text()))


class Sdk:
    """The environment with the SDK: checks by its types, and runs `make connect`."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            raise RuntimeError(f"{PYTHON} is missing: run `make setup`")
        self._process = subprocess.Popen(
            [PYTHON, "-m", "tests.support.elevenlabs_types"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._one_at_a_time = threading.Lock()

    def problems(self, is_: str, of: str, value: Any) -> list[str]:
        """Return the parts of a "request" or an "answer" that those types do not know."""
        return list(self._ask({"is": is_, "of": of, "value": value}))

    def connect(self, environment: dict[str, str]) -> tuple[int, str, str]:
        """Return status, output and error output of one run."""
        status, output, errors = self._ask({"is": "run", "of": "connect", "value": environment})
        return status, output, errors

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class ElevenLabs:
    """The API, served while its context is open."""

    sdk: Sdk
    agent: dict[str, Any] = field(default_factory=recorded)
    secrets: list[dict[str, str]] = field(default_factory=list)  # id, name, value
    page_size: int = 100
    replaces: bool = True  # a patch replaces innermost objects, or merges them as well
    forgets: bool = False  # answers a patch without applying it
    fails: dict[str, list[tuple[int, Any]]] = field(default_factory=lambda: defaultdict(list))
    seen: list[Request] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # fields that the SDK's types do not know

    @property
    def written(self) -> list[str]:
        """Return the requests that change something."""
        return [f"{one.method} {one.path}" for one in self.seen if one.method != "GET"]

    @property
    def prompt(self) -> dict[str, Any]:
        return dict(self.agent["conversation_config"]["agent"]["prompt"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail(self, request: str, status: int, body: Any, *, times: int = 9) -> None:
        """Answer the next requests of this kind, "PATCH agents", with an error."""
        self.fails[request] = [(status, body)] * times

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                split = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(split.query).items()}
                request = Request(self.command, split.path, query, body)
                status, answer = api.answer(request, self.headers.get("xi-api-key"))
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                if status in {301, 302, 307, 308}:
                    self.send_header("location", "https://elsewhere.example/")
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = _any  # noqa: N815 - names of the standard library

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request, api_key: str | None) -> tuple[int, Any]:
        self.seen.append(request)
        prefix, _, rest = request.path.removeprefix("/v1/convai/").partition("/")
        if failures := self.fails[f"{request.method} {prefix}"]:
            return failures.pop()
        if api_key != API_KEY:
            return error(401, "invalid_api_key", "Invalid API key")
        match request.method, prefix:
            case "GET", "agents":
                return self._told(rest)
            case "PATCH", "agents":
                return self._patched(rest, request.body)
            case "GET", "secrets":
                return self._listed(request.query)
            case ("POST" | "PATCH") as method, "secrets":
                return self._stored(method, rest, request.body)
        return error(404, "not_found", request.path)

    def _checked(self, is_: str, of: str, value: Any) -> None:
        self.unknown += self.sdk.problems(is_, of, value)

    def _told(self, agent_id: str) -> tuple[int, Any]:
        if agent_id != self.agent["agent_id"]:
            return error(404, "document_not_found", f"Document with id {agent_id} not found.")
        self._checked("answer", "GetAgentResponseModel", self.agent)
        return 200, self.agent

    def _patched(self, agent_id: str, body: dict[str, Any]) -> tuple[int, Any]:
        self._checked("request", "agents.update", body)
        prompt = body["conversation_config"]["agent"]["prompt"]
        if {"tools", "tool_ids"} <= prompt.keys():
            return error(400, "input_invalid", "Cannot specify both tools and tool_ids")
        if not 2 <= prompt.get("cascade_timeout_seconds", 4) <= 15:
            return 422, {"detail": [{"loc": ["body", "cascade_timeout_seconds"], "msg": "range"}]}
        secret = prompt["custom_llm"]["api_key"]["secret_id"]
        if secret not in {each["id"] for each in self.secrets}:
            return error(404, "secret_not_found", f"Secret {secret} not found.")
        if not self.forgets:
            self.agent = self._merged(self.agent, body)
            self.agent["version_id"] += "+"
            self.agent["metadata"]["updated_at_unix_secs"] += 1
        return self._told(agent_id)

    def _merged(self, old: Any, new: Any) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return copy.deepcopy(new)
        merged = copy.deepcopy(old)
        for name, value in new.items():
            whole = self.replaces and name in REPLACED_WHOLE
            merged[name] = copy.deepcopy(value) if whole else self._merged(old.get(name), value)
        return merged

    def _listed(self, query: dict[str, str]) -> tuple[int, Any]:
        first = int(query.get("cursor", 0))
        last = first + min(int(query.get("page_size", 100)), self.page_size)
        used = (self.prompt.get("custom_llm") or {}).get("api_key")
        page = {
            "secrets": [
                {
                    "type": "stored",
                    "secret_id": one["id"],
                    "name": one["name"],
                    "used_by": {
                        "tools": [],
                        "agents": [
                            {"type": "unknown", "id": self.agent["agent_id"]}
                            for _ in (1,)
                            if used == {"secret_id": one["id"]}
                        ],
                        "others": [],
                    },
                }
                for one in self.secrets[first:last]
            ],
            "next_cursor": str(last) if last < len(self.secrets) else None,
        }
        self._checked("answer", "GetWorkspaceSecretsResponseModel", page)
        return 200, page

    def _stored(self, method: str, secret_id: str, body: dict[str, str]) -> tuple[int, Any]:
        self._checked("request", f"secrets.{'create' if method == 'POST' else 'update'}", body)
        kept = {"name": body["name"], "value": body["value"]}
        if method == "POST":
            self.secrets.append({"id": f"secret_{len(self.secrets)}", **kept})
        else:
            [there] = [one for one in self.secrets if one["id"] == secret_id]
            there |= kept
        secret_id = secret_id or self.secrets[-1]["id"]
        made = {"type": "stored", "secret_id": secret_id, "name": body["name"]}
        self._checked("answer", "PostWorkspaceSecretResponseModel", made)
        return 200, made


def error(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, {"detail": {"status": code, "message": message}}
