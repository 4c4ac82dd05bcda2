"""`make trial` in an account on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.function_url import FunctionUrl
from local.wire import Exchange
from ops.trial.question_table import PROBES
from tests.support.built import ARCHITECTURE, PACKAGES, ROOT
from tests.support.cloud import Cloud
from tests.support.sam import SAM_VENV

pytestmark = [pytest.mark.built, pytest.mark.slow]

OTHERWISE_HERE = {"gap-0", "content-encoding"}
"""Answers in which this machine is known to differ from what we assume of AWS."""
TIMED = {"restored", "cold", "doctor", "gap-2", "gap-25", "small-chunk"}
"""Questions that a busy machine may answer either way."""
LIMIT_S = 280


class OddCloud(Cloud):
    """A cloud that reports the death of a streaming function with another status than we assume."""

    refuses_server = False

    async def answer(self, url: FunctionUrl, exchange: Exchange, logical_id: str) -> None:
        if logical_id == "StreamedFunction" and exchange.target == "/crash":
            await exchange.answer(500, b'{"message":"Internal Server Error"}', "application/json")
            return
        await super().answer(url, exchange, logical_id)

    def _transform(self, form: dict[str, str]) -> dict[str, str]:
        if self.refuses_server and form["StackName"].endswith("-server"):
            raise ValueError("this account refuses the server")
        return super()._transform(form)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[OddCloud]:
    """An account with another stack, which a trial must not touch."""
    with OddCloud(tmp_path) as cloud:
        theirs = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
        for name in ("voice-completions", "voice-trial-20260101-0000-aaaa-apps"):
            cloud.client("cloudformation").create_stack(StackName=name, TemplateBody=theirs)
        yield cloud


class Owner:
    """An owner who runs `make trial` in a separate folder."""

    def __init__(self, cloud: OddCloud, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        self._environment = {
            **os.environ,
            **cloud.environment,
            "PYTHONPATH": str(ROOT),
            "TRIAL_ENDPOINT": cloud.endpoint,
            "TRIAL_PACKAGES": str(PACKAGES),
            "TRIAL_ARCHITECTURE": ARCHITECTURE,
            "SAM_CLI_POLL_DELAY": "0.1",
        }

    def begins(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [SAM_VENV / "bin/python", "-m", "ops.trial", "--poll-s", "0.1", *arguments],
            cwd=self.folder,
            env={**self._environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def runs(self, *arguments: str, **variables: str) -> tuple[int, str]:
        process = self.begins(*arguments, **variables)
        said, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, said

    @property
    def report(self) -> str:
        (report,) = self.folder.glob(".trial/*.md")
        return report.read_text()


@pytest.fixture
def owner(cloud: OddCloud, tmp_path: Path) -> Owner:
    return Owner(cloud, tmp_path)


def reads_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"{words!r} was not said")


def left_in(cloud: Cloud) -> dict[str, Any]:
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    return {
        "stacks": {stack["StackName"] for stack in stacks},
        "buckets": [each["Name"] for each in cloud.client("s3").list_buckets()["Buckets"]],
        "functions": cloud.client("lambda").list_functions()["Functions"],
        "secrets": cloud.client("secretsmanager").list_secrets()["SecretList"],
        "logs": cloud.client("logs").describe_log_groups()["logGroups"],
    }


NOTHING = {
    "stacks": {"voice-completions", "voice-trial-20260101-0000-aaaa-apps"},
    "buckets": ["packages"],
    "functions": [],
    "secrets": [],
    "logs": [],
}


def test_everything_is_asked_reported_and_deleted(cloud: OddCloud, owner: Owner) -> None:
    """The report has each answer next to our assumption, and a differing one is marked."""
    status, said = owner.runs("--rounds", "4", "--patience-s", "30", YES="1")
    report = owner.report
    assert status == 0, said
    rows = re.findall(
        r"^\| (.+?) \| .+ \| (\*?\*?[a-z ]+\*?\*?) \| `\S+` \|$", report, re.MULTILINE
    )
    verdicts = dict(rows)
    assert len(verdicts) == len(PROBES)
    for probe in PROBES:
        otherwise = probe.name in OTHERWISE_HERE | {"502-streamed"}
        expected = {"**otherwise**"} if otherwise else {"as assumed"}
        expected |= {"**otherwise**"} if probe.name in TIMED else set()
        assert verdicts[probe.question] in expected, (probe.name, said)
    assert "state: every question was asked" in report
    assert "left in the account: nothing" in report
    assert left_in(cloud) == NOTHING
    assert [path.suffix for path in (owner.folder / ".trial").iterdir()] == [".md"]


def test_nothing_is_created_without_a_yes(cloud: OddCloud, owner: Owner) -> None:
    """Without a terminal only the plan is printed."""
    status, said = owner.runs()
    assert status == 2
    assert "YES=1" in said
    assert "nine functions with public addresses" in said
    assert left_in(cloud) == NOTHING
    assert not (owner.folder / ".trial").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_stopped_trial_leaves_nothing(
    cloud: OddCloud, owner: Owner, number: signal.Signals
) -> None:
    """A signal during a deployment ends the trial, and a second one does not stop its clean-up."""
    process = owner.begins(YES="1")
    reads_until(process, "deploying the server")
    process.send_signal(number)
    reads_until(process, "deleting what")
    process.send_signal(number)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "stopped early" in owner.report
    assert "left in the account: nothing" in owner.report
    assert left_in(cloud) == NOTHING


def test_a_deployment_that_fails_is_deleted(cloud: OddCloud, owner: Owner) -> None:
    """The report says what failed, the terminal shows sam's output, and nothing is left."""
    cloud.refuses_server = True
    status, said = owner.runs(YES="1")
    assert status == 1
    assert "could not be deployed" in said
    assert "state: it failed: The stack" in owner.report
    assert left_in(cloud) == NOTHING


def test_the_next_trial_deletes_what_a_killed_one_left(cloud: OddCloud, owner: Owner) -> None:
    """The next trial deletes it before it asks anything, and keeps the first report."""
    process = owner.begins(YES="1")
    reads_until(process, "deploying the server")
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert "running, or crashed" in owner.report
    assert left_in(cloud) != NOTHING
    status, said = owner.runs("--region", "eu-central-1")
    assert status == 2
    assert "deleting voice-trial-" in said
    assert left_in(cloud) == NOTHING


def test_another_checkouts_stack_is_named_and_deleted_by_name(
    cloud: OddCloud, owner: Owner
) -> None:
    """Another checkout's stack is only named, with the command that deletes it."""
    name = "voice-trial-20260102-0000-bbbb"
    cloud.client("s3").create_bucket(Bucket=name)
    cloud.client("s3").put_object(Bucket=name, Key="package", Body=b"1")
    _, said = owner.runs()
    assert f"make trial TAKE_AWAY={name}" in said
    assert owner.runs(TAKE_AWAY=name)[0] == 0
    assert left_in(cloud) == NOTHING


def test_a_trial_that_runs_is_left_alone(cloud: OddCloud, owner: Owner) -> None:
    """A second trial in the same checkout reports the running one and deletes nothing."""
    process = owner.begins(YES="1")
    reads_until(process, "deploying the server")
    _, said = owner.runs()
    assert "There is another trial" in said
    assert "deleting" not in said
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert left_in(cloud) == NOTHING


def test_a_stack_without_a_trials_tag_is_never_touched(cloud: OddCloud, owner: Owner) -> None:
    """A stack is deleted only if it has a trial's tag, whatever its name."""
    status, said = owner.runs(TAKE_AWAY="voice-trial-20260101-0000-aaaa")
    assert status == 1
    assert "lacks a trial's tag" in said
    assert owner.runs(TAKE_AWAY="voice-completions")[0] == 2
    assert left_in(cloud) == NOTHING
