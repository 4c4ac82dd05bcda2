"""Start, steer and stop the local deployment whose models play scripts, as another program.

The contract is that of `python -m local.staged`: it prints a line of JSON when it serves, ends when
stdin is closed, and takes scenes and gives requests by HTTP. Nothing is imported from it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

from ops.call.agent import AgentServer
from ops.command_problem import Problem
from ops.doctor.wire import exchange
from ops.pasted_url import Address

STEER_S = 10.0


class ScriptedDeployment:
    """One deployment with its models. `server` is the address and key of its agent."""

    def __init__(
        self, parameters: Mapping[str, str], *, fallback: bool, options: Sequence[str] = ()
    ) -> None:
        """Start it, and wait until it serves. Raises `Problem` if it does not."""
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "local.staged", "--parameters", json.dumps(parameters)),
                *(["--fallback"] if fallback else []),
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        try:
            ready = self._process.stdout.readline() if self._process.stdout else ""
        except KeyboardInterrupt:
            self.stop()
            raise
        if not ready:
            lines = self.log().strip().splitlines()
            self.stop()
            why = lines[-1].removeprefix("error: ") if lines else "it has not said why"
            raise Problem(f"the local deployment did not start: {why}")
        facts: dict[str, str] = json.loads(ready)
        self.server = AgentServer(Address.parse(facts["url"]), facts["key"])
        self._models = {"model": facts["model"], "fallback": facts["fallback"]}

    def play(self, model: str, scenes: Sequence[Mapping[str, Any]]) -> None:
        """Set the scenes that `model` or `fallback` plays from now on."""
        self._steer(model, "POST", "/scenes", {"scenes": list(scenes)})

    def saw(self, model: str = "model") -> list[dict[str, Any]]:
        """Return the bodies of the requests to a model since its scenes were set."""
        bodies: list[dict[str, Any]] = self._steer(model, "GET", "/requests", None)
        return bodies

    def log(self) -> str:
        """Return what the deployment has logged."""
        self._log.seek(0)
        return self._log.read()

    @property
    def has_ended(self) -> bool:
        """True if it has died."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def _steer(self, model: str, method: str, path: str, body: Any) -> Any:
        address = Address.parse(self._models[model])
        came = exchange(
            address,
            method,
            path,
            headers={"content-type": "application/json"},
            body=json.dumps(body).encode() if body is not None else b"",
            timeout_s=STEER_S,
        )
        if came.trouble:
            raise Problem(f"the local deployment has died: {came.detail}")
        if came.status != 200:
            raise Problem(f"the scripted model was not steered: {came.body.decode()[:200]}")
        return json.loads(came.body)


class ScriptedDeployments:
    """The deployments of a run of calls: one for each set of parameters."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = options
        self._started: dict[tuple[str, bool], ScriptedDeployment] = {}

    def started(self, parameters: Mapping[str, str], *, fallback: bool) -> ScriptedDeployment:
        """Return the deployment with these parameters, and start it for the first call.

        A dead one is started anew: the call during which it died reports why.
        """
        key = json.dumps(parameters, sort_keys=True), fallback
        if key in self._started and self._started[key].has_ended:
            self._started.pop(key).stop()
        if key not in self._started:
            self._started[key] = ScriptedDeployment(
                parameters, fallback=fallback, options=self._options
            )
        return self._started[key]

    def stop(self) -> None:
        """End all of them."""
        for deployment in self._started.values():
            deployment.stop()
