"""Secrets Manager in memory: what `completions.keys.keys` needs of it, and its failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

CALLER_SECRET, UPSTREAM_SECRET = "caller-secret", "upstream-secret"
CALLER_KEY, UPSTREAM_KEY = "caller-key-for-tests", "upstream-key-for-tests"


class FakeSecrets:
    """Both secrets. `connect` is what `Keys` is given; every read is counted in `reads`."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], str] = {}
        self.put(CALLER_SECRET, {"key": CALLER_KEY})
        self.put(UPSTREAM_SECRET, {"upstream": UPSTREAM_KEY, "fallback": UPSTREAM_KEY + "-2"})
        self.reads: list[str] = []
        """The secrets asked for, current versions only."""
        self.previous_reads = 0
        self.connects = 0
        self.closes = 0
        self.failure: Exception | None = None
        """Raised by every read while set."""
        self.open = threading.Event()
        """Reads wait until it is set, which it is unless a test clears it."""
        self.open.set()

    def put(self, name: str, value: Mapping[str, str] | str) -> None:
        """A new current version; what was current becomes the previous one."""
        text = value if isinstance(value, str) else json.dumps(value)
        if (current := self.versions.get((name, "AWSCURRENT"))) is not None:
            self.versions[name, "AWSPREVIOUS"] = current
        self.versions[name, "AWSCURRENT"] = text

    def only(self, name: str, text: str) -> None:
        """The one version that there is."""
        self.versions[name, "AWSCURRENT"] = text
        self.versions.pop((name, "AWSPREVIOUS"), None)

    def connect(self) -> FakeSecrets:
        """A client."""
        self.connects += 1
        return self

    def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
        """AWS's GetSecretValue."""
        name, stage = kwargs["SecretId"], kwargs.get("VersionStage", "AWSCURRENT")
        if stage == "AWSCURRENT":
            self.reads.append(name)
        else:
            self.previous_reads += 1
        if not self.open.wait(timeout=20):
            raise AssertionError("nobody let this read through")
        if self.failure is not None:
            raise self.failure
        if (name, stage) not in self.versions:
            raise aws_error("ResourceNotFoundException")
        return {"SecretString": self.versions[name, stage]}

    def close(self) -> None:
        """Closes nothing, and counts it."""
        self.closes += 1


def aws_error(code: str) -> ClientError:
    """An error as AWS returns it."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetSecretValue")
