"""What a trial has in an account, and its deletion: a bucket and two stacks, under one name.

Each trial has its own folder under `.trial`, made before anything is created and removed when
nothing is left. A folder whose process is dead belongs to a trial that crashed, which is found by
it. Deletes only what has a trial's name and, for stacks, its tag.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.command_problem import Problem
from ops.trial.account import ERRORS, Account, is_missing

PREFIX = "voice-trial-"
TAG = {"Key": "application", "Value": "voice-trial"}
NAME = re.compile(rf"{PREFIX}\d{{8}}-\d{{4}}-[0-9a-f]{{4}}")
DELETION_S = 1200.0
"""A version with a snapshot takes minutes to delete."""
POLL_S = 3.0


def new_name() -> str:
    """Return a name that says what it is and when it was made, and is valid for a bucket."""
    return f"{PREFIX}{time.strftime('%Y%m%d-%H%M')}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class Stacks:
    """One trial's bucket and stacks, whether they exist or not."""

    name: str
    account: Account
    runs: Path
    """Where trials have their folders, `.trial`."""
    poll_s: float = POLL_S

    @property
    def folder(self) -> Path:
        """The trial's folder: packages to upload, what `sam` said, and the trial's process."""
        return self.runs / self.name

    def stack(self, part: str) -> str:
        """Return the name of the stack `server` or `apps`."""
        return f"{self.name}-{part}"

    def begin(self) -> None:
        """Note that the trial exists, then make its bucket."""
        self.folder.mkdir(parents=True)
        account = self.account
        owner = {"pid": os.getpid(), "region": account.region, "account": account.number}
        (self.folder / "owner.json").write_text(json.dumps(owner))
        place = {"LocationConstraint": self.account.region}
        where = {} if self.account.region == "us-east-1" else {"CreateBucketConfiguration": place}
        self.account.client("s3").create_bucket(Bucket=self.name, **where)

    def deploy(self, part: str, template: Path, **parameters: str) -> dict[str, str]:
        """Create or change a stack with `sam`; return its outputs.

        Raises:
            Problem: it failed; the message ends with what `sam` said.
        """
        tags = [f"{TAG['Key']}={TAG['Value']}", f"trial={self.name}"]
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        command = [
            str(Path(sys.executable).with_name("sam")),
            "deploy",
            "--template-file",
            str(template.resolve()),
        ]
        command += ["--stack-name", self.stack(part), "--s3-bucket", self.name, "--tags", *tags]
        command += [
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-progressbar",
        ]
        command += ["--no-fail-on-empty-changeset", "--parameter-overrides", *overrides]
        log = self.folder / "sam.log"
        with log.open("a") as output:
            environment = {**os.environ, **self.account.environment, "SAM_CLI_TELEMETRY": "0"}
            done = subprocess.run(
                command,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=template.parent,
                check=False,
            )
        if done.returncode:
            end = "\n".join(log.read_text(errors="replace").strip().splitlines()[-25:])
            raise Problem(f"The stack {self.stack(part)} could not be deployed.\n{end}")
        return self.outputs(part)

    def outputs(self, part: str) -> dict[str, str]:
        """Return a stack's outputs."""
        described = self._described(self.stack(part)) or {}
        return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}

    def delete(self) -> list[str]:
        """Delete everything; return what is left and why, in words.

        The folder is deleted last, and stays if something is left.
        """
        left = []
        for part in ("server", "apps"):
            try:
                self._delete_stack(self.stack(part))
            except (Problem, *ERRORS) as error:
                left.append(f"the stack {self.stack(part)}: {error}")
        try:
            self._delete_bucket()
        except ERRORS as error:
            left.append(f"the bucket {self.name}: {error}")
        if not left:
            shutil.rmtree(self.folder, ignore_errors=True)
        return left

    def _described(self, stack: str) -> dict[str, Any] | None:
        try:
            answer = self.account.client("cloudformation").describe_stacks(StackName=stack)
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        described: dict[str, Any] = answer["Stacks"][0]
        return described

    def _delete_stack(self, stack: str) -> None:
        ends_at = time.monotonic() + DELETION_S
        tries, status = 0, ""
        while described := self._described(stack):
            before, status = status, described["StackStatus"]
            if status == "DELETE_COMPLETE":
                return
            # A stack that exists only for a change set may have no tags yet.
            if status != "REVIEW_IN_PROGRESS" and TAG not in described.get("Tags", []):
                raise Problem("it lacks a trial's tag, so it is not touched")
            if status == "DELETE_FAILED" and before != status and tries > 1:
                raise Problem(described.get("StackStatusReason") or status)
            if status != "DELETE_IN_PROGRESS" and (tries == 0 or before != status):
                tries += self._ask_to_delete(stack)
            if time.monotonic() > ends_at:
                raise Problem(f"it is still there after {DELETION_S:.0f} s, {status}")
            time.sleep(self.poll_s)

    def _ask_to_delete(self, stack: str) -> int:
        """Request the deletion; 0 if it is refused for now, as during an update."""
        try:
            self.account.client("cloudformation").delete_stack(StackName=stack)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ValidationError":
                return 0
            raise
        return 1

    def _delete_bucket(self) -> None:
        s3 = self.account.client("s3")
        try:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.name):
                keys = [{"Key": one["Key"]} for one in page.get("Contents", [])]
                if keys:
                    s3.delete_objects(Bucket=self.name, Delete={"Objects": keys})
            s3.delete_bucket(Bucket=self.name)
        except ClientError as error:
            if not is_missing(error):
                raise


def crashed(account: Account, runs: Path) -> Iterator[Stacks]:
    """Yield this checkout's trials in the account, in any Region, whose process is dead."""
    for noted in sorted(runs.glob(f"{PREFIX}*/owner.json")):
        owner = json.loads(noted.read_text() or "{}")
        if owner.get("account") == account.number and not _alive(int(owner["pid"])):
            there = replace(account, region=owner["region"])
            yield Stacks(noted.parent.name, there, runs)


def others(account: Account, runs: Path) -> list[str]:
    """Return the names of further trials: alive, of another account, or another checkout's.

    The last ones are those that can be seen in this Region.
    """
    found = {noted.parent.name for noted in runs.glob(f"{PREFIX}*/owner.json")}
    with suppress(*ERRORS):  # A trial does not require the right to list everything.
        for page in account.client("cloudformation").get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                name = NAME.match(stack["StackName"])
                if name and TAG in stack.get("Tags", []):
                    found.add(name[0])
    with suppress(*ERRORS):
        buckets = account.client("s3").list_buckets()["Buckets"]
        found |= {each["Name"] for each in buckets if NAME.fullmatch(each["Name"])}
    return sorted(found)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0
