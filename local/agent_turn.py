"""Plays one turn of an agent in the built package, to see whether the package is complete.

`make build` runs it if an agent is named, against a model that says yes to everything. An import is
not enough: frameworks and SDKs load much on first use. A missing package fails the build; anything
else that the turn lacks, such as an API of yours, is only reported.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from local.deployment import ROOT, Deployment
from local.environment import InitError
from local.intrinsics import TemplateError
from local.layout import CodeError
from local.scripted.script import answer
from local.scripted.upstream import ScriptedUpstream
from local.service import ServiceError

TIMEOUT_S = 60.0
MISSING = re.compile(
    r"(?:(?:ModuleNotFound|Import|FileNotFound)Error|UnknownServiceError|PackageNotFoundError)\b.*"
)
"""How Python, botocore and importlib.metadata report a missing file of a package."""
HINT = (
    "packages that it needs go into the group function of pyproject.toml; make lock pins them"
    " (docs/agents.md)"
)


async def play(responder: str, template: Path = ROOT / "template.yaml") -> str:
    """Play the turn; return the exception raised in it, or nothing.

    Raises `InitError` with the agent's own words if it cannot be loaded, and the other errors of a
    deployment that cannot start.
    """
    async with ScriptedUpstream(answer("Yes."), responses=True) as model:
        parameters = {"Responder": responder, "LogContent": "On"}
        async with Deployment(
            template=template, parameters=parameters, upstream=model.base_url, code="built"
        ) as deployment:
            await asyncio.to_thread(_ask, deployment.base_url, deployment.caller_key)
            return _raised(deployment.log_text())


def _ask(base_url: str, key: str) -> None:
    url = urlsplit(base_url)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Say yes."}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"{url.path}/chat/completions", json.dumps(body), headers)
        connection.getresponse().read()
    finally:
        connection.close()


def _raised(log: str) -> str:
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("message") == "candidate.crashed":
            return str(event.get("exception", "")).strip()
    return ""


def verdict(responder: str, raised: str) -> tuple[int, str]:
    """Return the exit status, and what to print about a turn that raised this."""
    if not raised:
        return 0, f"a turn of {responder} in the package: it answers"
    if missing := MISSING.findall(raised):
        return 1, f"the package lacks something that {responder} needs: {missing[-1]}\n{HINT}"
    last = raised.splitlines()[-1]
    return 0, f"a turn of {responder} in the package: nothing is missing, but it raised {last}"


def main() -> int:
    """Play the turn of the agent that the command line names; return the exit status."""
    (responder,) = sys.argv[1:]
    try:
        raised = asyncio.run(play(responder))
    except InitError as error:
        raised = str(error)
        if not MISSING.search(raised):
            print(f"{responder} cannot be loaded: {raised}", file=sys.stderr)
            return 1
    except (TemplateError, CodeError, ServiceError, OSError) as error:
        print(f"a turn of {responder} could not be played: {error}", file=sys.stderr)
        return 1
    status, text = verdict(responder, raised)
    print(text, file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
