"""Secrets Manager in memory, as far as `completions.keys.keys` uses it, with its failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

CALLER_SECRET, UPSTREAM_SECRET = "caller-secret", "upstream-secret"
CALLER_KEY, UPSTREAM_KEY = "caller-key-for-tests", "upstream-key-for-tests"


class FakeSecrets:
    """Both secrets. `Keys` gets `connect`; `reads` counts every read."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], str] = {}
        self.put(CALLER_SECRET, {"key": CALLER_KEY})
        self.put(UPSTREAM_SECRET, {"upstream": UPSTREAM_KEY, "fallback": UPSTREAM_KEY + "-2"})
        self.reads: list[str] = []
        """The secrets that were read, current versions only."""
        self.previous_reads = 0
        self.connects = 0
        self.closes = 0
        self.failure: Exception | None = None
        """Every read raises it while it is set."""
        self.open = threading.Event()
        """Reads wait until it is set; tests clear it."""
        self.open.set()

    def put(self, name: str, value: Mapping[str, str] | str) -> None:
        """Store a new current version; the current one becomes the previous one."""
        text = value if isinstance(value, str) else json.dumps(value)
        if (current := self.versions.get((name, "AWSCURRENT"))) is not None:
            self.versions[name, "AWSPREVIOUS"] = current
        self.versions[name, "AWSCURRENT"] = text

    def only(self, name: str, text: str) -> None:
        """Store the only version."""
        self.versions[name, "AWSCURRENT"] = text
        self.versions.pop((name, "AWSPREVIOUS"), None)

    def connect(self) -> FakeSecrets:
        """Return a client."""
        self.connects += 1
        return self

    def get_secret_value(self, **kwargs: str) -> Mapping[str, Any]:
        """See AWS's GetSecretValue."""
        name, stage = kwargs["SecretId"], kwargs.get("VersionStage", "AWSCURRENT")
        if stage == "AWSCURRENT":
            self.reads.append(name)
        else:
            self.previous_reads += 1
        if not self.open.wait(timeout=20):
            raise AssertionError("the test did not release this read")
        if self.failure is not None:
            raise self.failure
        if (name, stage) not in self.versions:
            raise aws_error("ResourceNotFoundException")
        return {"SecretString": self.versions[name, stage]}

    def close(self) -> None:
        """Count the call; there is nothing to close."""
        self.closes += 1


def aws_error(code: str) -> ClientError:
    """Return an error as AWS's client raises it."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetSecretValue")
