"""`make call`, against a local deployment and against any URL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.call.scripted_deployment import ScriptedDeployment, ScriptedDeployments
from ops.command_problem import Problem
from tests.support.patients import KEY, Answer, Request, refusal, serve, speech

ROOT = Path(__file__).resolve().parents[2]
DEPLOYED = ROOT / "calls" / "deployed.yaml"
CALLS = sorted(str(file) for file in (ROOT / "calls").glob("*.yaml"))
REAL = "call: hours\nturns:\n  - caller: Are you open?\n    expect: {says: until six}\n"


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.call", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


BUILT = pytest.param("built", marks=[pytest.mark.built, pytest.mark.slow])


@pytest.mark.parametrize("code", ["source", BUILT])
def test_the_shipped_calls_go_well(code: str, tmp_path: Path) -> None:
    """All shipped calls but the real model's pass against the deployment, and JUnit says so."""
    report = tmp_path / "calls.xml"
    done = _run(*CALLS, "--code", code, "--junit", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 ok, 1 skipped" in done.stdout
    assert 'tests="11" failures="0"' in report.read_text()


def _server(request: Request) -> Answer:
    if request.headers["authorization"] != f"Bearer {KEY}":
        return refusal(401, "invalid_api_key")
    return Answer(pieces=speech(["Yes, ", "until ", "six."]))


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A call file that needs a real model."""
    file = tmp_path / "real.yaml"
    file.write_text(REAL, "utf-8")
    return file


def test_a_url_plays_the_files_without_scripts(real: Path, tmp_path: Path) -> None:
    """Files with a scripted model are reported as skipped; the others are judged."""
    page = tmp_path / "calls.html"
    with serve(_server) as url:
        done = _run(str(real), CALLS[0], "--html", str(page), CALL_URL=url, CALL_KEY=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ok, 1 skipped" in done.stdout
    assert "its model is scripted" in done.stdout
    assert "until six." in page.read_text()
    assert KEY not in done.stdout + done.stderr


def test_one_shipped_call_plays_on_any_url() -> None:
    """One shipped call plays on any URL, with the model that was named."""
    asked: list[str] = []

    def server(request: Request) -> Answer:
        asked.append(request.json["model"])
        return _server(request)

    with serve(server) as url:
        done = _run(str(DEPLOYED), CALL_URL=url, CALL_KEY=KEY, CALL_MODEL="my-model")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ok" in done.stdout
    assert set(asked) == {"my-model"}


def test_a_failed_call_ends_with_status_1(real: Path) -> None:
    """The transcript shows what was heard and what failed, and the pass rate how often."""
    real.write_text(REAL.replace("until six", "until five"), "utf-8")
    with serve(_server) as url:
        done = _run(str(real), "--repeat", "2", CALL_URL=url, CALL_KEY=KEY)
    assert done.returncode == 1
    assert "WRONG says: 'until five' is not in 'Yes, until six.'" in done.stdout
    assert "passed 0 of 2 times" in done.stdout


@pytest.mark.parametrize("why", ["key", "schema", "no key"])
def test_a_call_that_could_not_be_played_ends_with_status_2(real: Path, why: str) -> None:
    """A refused key, a misspelt file and a missing key each get one line and status 2."""
    if why == "schema":
        real.write_text(REAL.replace("says", "sayz"), "utf-8")
    with serve(_server) as url:
        done = _run(str(real), CALL_URL=url, CALL_KEY={"no key": ""}.get(why, "another"))
    assert done.returncode == 2
    told_as = {"key": "caller_key: 401", "schema": f"{real}:4: turns[1].expect.sayz: unknown"}
    assert told_as.get(why, "error: no caller key") in done.stdout + done.stderr


def test_a_run_without_calls_has_its_own_status() -> None:
    """A run without a call is not a success."""
    with serve(_server) as url:
        assert _run(CALLS[0], CALL_URL=url, CALL_KEY=KEY).returncode == 2


def test_a_deployment_that_died_is_replaced() -> None:
    """The call in which the deployment died fails, and the next one gets a new deployment."""
    deployments = ScriptedDeployments()
    try:
        first = deployments.started({}, fallback=False)
        first._process.kill()
        first._process.wait()
        with pytest.raises(Problem, match="the local deployment has died"):
            first.play("model", [{"say": "Yes."}])
        deployments.started({}, fallback=False).play("model", [{"say": "Yes."}])
    finally:
        deployments.stop()


def test_a_stage_is_controlled_from_outside() -> None:
    """The test sets the model's scenes and reads its requests, and bad scenes are refused."""
    deployment = ScriptedDeployment({}, fallback=False)
    try:
        deployment.play("model", [{"say": "Yes."}])
        assert deployment.saw() == []
        with pytest.raises(Exception, match="the scene's sayy is unknown"):
            deployment.play("model", [{"sayy": "Yes."}])
    finally:
        deployment.stop()
