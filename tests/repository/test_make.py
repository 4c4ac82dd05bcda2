"""make's commands, run against stand-ins for AWS, and what they print."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FAKE_AWS = """#!/bin/sh
echo "$@" >> "$LOG.arguments"
case "$*" in
*"cloudformation describe-stack-resource"*) echo arn:of:the:secret ;;
*"cloudformation describe-stacks"*) echo "$BEDROCK" ;;
*"secretsmanager describe-secret"*) echo "$VERSIONS" ;;
*"secretsmanager get-secret-value"*)
    [ -z "$REFUSED" ] || { echo "An error occurred ($REFUSED)" >&2; exit 254; }
    echo "$STORED" ;;
*"secretsmanager put-secret-value"*) cat > "$LOG.stdin" ;;
*) exit 1 ;;
esac
"""

CONNECT = ".venv-connect/.connect"

# As on Debian without python3-venv: an interpreter without pip.
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
"-m venv") mkdir -p "$3/bin" && ln -s /bin/sh "$3/bin/python"; echo "no ensurepip"; exit 1 ;;
esac
exec "$REAL_PYTHON" "$@"
"""


@pytest.fixture
def run(root: Path, tmp_path: Path) -> "Run":
    return Run(root, tmp_path)


class Run:
    """Run make with a fake `aws` first on the PATH, without a terminal."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.log = root, folder / "log"
        aws = folder / "aws"
        aws.write_text(FAKE_AWS)
        aws.chmod(0o755)
        self.environ = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "LOG": str(self.log)}
        self.secret_holds(None)
        self.environ |= {"VERSIONS": "None", "BEDROCK": "None"}
        for name in ("MAKEFLAGS", "MAKELEVEL"):
            self.environ.pop(name, None)

    def secret_holds(self, text: str | None, *, refused: str = "") -> None:
        """What the deployed secret holds; None before its first value."""
        refused = refused or ("ResourceNotFoundException" if text is None else "")
        self.environ |= {"STORED": text or "", "REFUSED": refused}

    def fake_sam(self, complaint: str = "") -> Path:
        """A stand-in for the SAM CLI's environment, so that make installs nothing.

        With a complaint, its Python reports that the variables are too long.
        """
        folder = self.log.parent / "sam"
        (folder / "bin").mkdir(parents=True)
        (folder / ".sam").touch()
        python = folder / "bin" / "python"
        python.write_text(f"#!/bin/sh\necho '{complaint}' >&2\ntest -z '{complaint}'\n")
        python.chmod(0o755)
        return folder

    @property
    def stored(self) -> dict[str, str] | None:
        """Return what was stored in the secret, if anything."""
        put = self.log.with_suffix(".stdin")
        return json.loads(put.read_text()) if put.exists() else None

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        # Tests install nothing: what is installed counts as new enough.
        return subprocess.run(
            ["make", "-C", self.root, "--no-print-directory", "-o", CONNECT, *arguments],
            input=stdin,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )


def test_the_upstream_key_is_no_argument(run: Run) -> None:
    """`make upstream-key` passes keys through pipes, where no process list shows them."""
    run.secret_holds('{"upstream": "sk-old"}')
    done = run("upstream-key", "STACK=my-stack", "REGION=eu-central-1", stdin='sk-"1\nsk-2\n')
    assert done.returncode == 0, done.stderr
    arguments = run.log.with_suffix(".arguments").read_text()
    assert "--stack-name my-stack" in arguments
    assert arguments.count("--region eu-central-1") == 4
    assert arguments.count("--secret-id arn:of:the:secret") == 2
    assert "sk-" not in arguments + done.stdout + done.stderr
    assert run.stored == {"upstream": 'sk-"1', "fallback": "sk-2"}


@pytest.mark.parametrize(
    ("before", "typed", "after"),
    [
        (None, "sk-1\n\n", {"upstream": "sk-1"}),
        (None, "sk-1", {"upstream": "sk-1"}),
        ('{"upstream": "a", "fallback": "b"}', "sk-1\n\n", {"upstream": "sk-1", "fallback": "b"}),
        ('{"upstream": "a"}', "\nsk-2\n", {"upstream": "a", "fallback": "sk-2"}),
        ("a", "\nsk-2\n", {"upstream": "a", "fallback": "sk-2"}),
        ('{"upstream": "a", "other": "c"}', "sk-1\n", {"upstream": "sk-1", "other": "c"}),
    ],
)
def test_an_empty_answer_keeps_the_stored_key(
    run: Run, before: str | None, typed: str, after: dict[str, str]
) -> None:
    """An empty answer keeps the key that is stored."""
    run.secret_holds(before)
    done = run("upstream-key", stdin=typed)
    assert done.returncode == 0, done.stderr
    assert run.stored == after


@pytest.mark.parametrize("before", [None, '{"upstream": "a", "fallback": "b"}'])
def test_no_key_at_all_stores_nothing(run: Run, before: str | None) -> None:
    """Two empty answers leave the secret unchanged, and make says so."""
    run.secret_holds(before)
    done = run("upstream-key", stdin="\n\n")
    assert done.returncode != 0
    assert "nothing stored" in done.stderr
    assert run.stored is None


def test_a_secret_that_cannot_be_read_is_not_written(run: Run) -> None:
    """If the secret cannot be read, no key is asked for, since writing one would lose the other."""
    run.secret_holds('{"upstream": "a"}', refused="AccessDeniedException")
    done = run("upstream-key", stdin="sk-1\nsk-2\n")
    assert done.returncode != 0
    assert "AccessDeniedException" in done.stderr
    assert "Key of" not in done.stdout + done.stderr
    assert run.stored is None


WITHOUT_KEY = "until the model API's key is stored, every turn is answered with 503"
STAGES = [("default", "voice-completions", ""), ("prod", "voice-completions-prod", " STAGE=prod")]


@pytest.mark.parametrize(("stage", "stack", "argument"), STAGES)
def test_deploy_is_the_whole_procedure(run: Run, stage: str, stack: str, argument: str) -> None:
    """`make deploy` builds and deploys one stage and prints what is left to do."""
    given = [argument.strip()] if argument else []
    done = run("deploy", "SAM=echo sam", f"SAM_VENV={run.fake_sam()}", "SAM_ARGS=--guided", *given)
    assert done.returncode == 0, done.stderr
    # The build's output is not shown.
    assert done.stdout.splitlines() == [
        f"sam deploy --config-env {stage} --stack-name {stack} --guided",
        f"Next: make upstream-key{argument} ({WITHOUT_KEY})",
    ]
    assert f"--stack-name {stack} " in run.log.with_suffix(".arguments").read_text()


def test_deploy_uses_stack_and_region(run: Run) -> None:
    """STACK and REGION override samconfig.toml for every command."""
    where = ["STACK=mine", "REGION=eu-central-1"]
    done = run("deploy", "SAM=echo sam", f"SAM_VENV={run.fake_sam()}", *where)
    assert "deploy --config-env default --stack-name mine --region eu-central-1" in done.stdout
    calls = run.log.with_suffix(".arguments").read_text().splitlines()
    assert len(calls) == 3
    assert all(line.startswith("--region eu-central-1") for line in calls)
    assert "Next: make upstream-key STACK=mine REGION=eu-central-1 (" in done.stdout


def test_deploy_repeats_no_advice(run: Run) -> None:
    """With a key in the secret nothing is left to do, and no key is read to find out."""
    run.environ["VERSIONS"] = "0a1b\tAWSCURRENT"
    done = run("deploy", "SAM=echo sam", f"SAM_VENV={run.fake_sam()}")
    assert done.returncode == 0, done.stderr
    assert "Next" not in done.stdout
    assert "get-secret-value" not in run.log.with_suffix(".arguments").read_text()


def test_deploy_asks_for_no_key_on_bedrock(run: Run) -> None:
    """On Bedrock no upstream key is asked for."""
    run.environ["BEDROCK"] = "arn:aws:bedrock:us-east-1::foundation-model/m"
    done = run("deploy", "SAM=echo sam", f"SAM_VENV={run.fake_sam()}")
    assert done.returncode == 0, done.stderr
    assert "Next" not in done.stdout


@pytest.mark.parametrize(("failing", "tried"), [("build", 1), ("deploy", 2)])
def test_deploy_ends_at_the_first_failure(run: Run, failing: str, tried: int) -> None:
    """A failed build is not deployed, and a failed deployment fails make."""
    # SAM's arguments become the arguments of a shell function.
    sam = f'sam() {{ echo "tried $$1" >&2; test "$$1" != {failing}; }}; sam'
    done = run("deploy", f"SAM={sam}", f"SAM_VENV={run.fake_sam()}")
    assert done.returncode != 0
    assert done.stderr.count("tried ") == tried
    assert "Next" not in done.stdout


@pytest.mark.parametrize("target", ["deploy", "build"])
def test_variables_that_are_too_long_stop_a_build(run: Run, target: str) -> None:
    """Variables that are too long stop make before it builds."""
    empty = run.log.parent / "built"
    sam = run.fake_sam("BufferWords is too long")
    done = run(target, "SAM=echo sam", f"SAM_VENV={sam}", f"BUILT={empty}")
    assert done.returncode != 0
    assert "BufferWords is too long" in done.stderr
    assert "sam" not in done.stdout


def test_an_unknown_stage_is_refused(run: Run) -> None:
    """An unknown stage is refused, since SAM would build it with default parameters."""
    done = run("deploy", "STAGE=staging", "SAM=echo sam", f"SAM_VENV={run.fake_sam()}")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "no such stage" in done.stderr


@pytest.mark.parametrize("target", ["upstream-key", "connect"])
def test_no_key_goes_to_a_stage_by_mistake(run: Run, target: str) -> None:
    """A mistyped stage never selects another stage's stack."""
    run.environ["ELEVENLABS_API_KEY"] = "xi-key"
    done = run(target, "STAGE=prd", "AGENT=agent_1", "DRY_RUN=1", stdin="sk-1\n\n")
    assert done.returncode != 0
    assert "no such stage" in done.stderr
    assert not run.log.with_suffix(".arguments").exists()


@pytest.mark.parametrize(("stage", "stack", "_"), STAGES)
def test_the_key_goes_to_the_stage(run: Run, stage: str, stack: str, _: str) -> None:
    """`make upstream-key STAGE=prod` writes into the secret of that stage's stack."""
    done = run("upstream-key", f"STAGE={stage}", stdin="sk-1\n\n")
    assert done.returncode == 0, done.stderr
    assert f"--stack-name {stack} " in run.log.with_suffix(".arguments").read_text()


def test_help_has_every_target(run: Run) -> None:
    """`make help` has a line for each public target."""
    makefile = (run.root / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (help .+)$", makefile, re.MULTILINE)
    assert phony
    told = {line.split()[0] for line in run("help").stdout.splitlines()}
    assert set(phony[1].split()) == told


def test_an_interpreter_that_is_not_python_313_is_ignored(run: Run, tmp_path: Path) -> None:
    """A python3.13 on the PATH counts only if it runs and is CPython 3.13."""
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    run.environ.pop("PYTHON313", None)
    done = run("-pn", "help", "PYTHON=false")
    assert re.search(r"^PYTHON313 := *$", done.stdout, re.MULTILINE)


def test_connect_passes_its_options_on(run: Run) -> None:
    """`make connect` takes its options as variables and asks nothing without a terminal."""
    run.environ |= {"ELEVENLABS_API_KEY": "sk-hush", "ELEVENLABS_BASE_URL": "http://127.0.0.1:9"}
    refused = run("connect", "AGENT=agent_1")
    assert refused.returncode != 0
    assert "YES=1" in refused.stderr
    done = run("connect", "AGENT=agent_1", "YES=1", "STACK=my-stack", "REGION=eu-central-1")
    assert done.returncode != 0
    log = run.log.with_suffix(".arguments").read_text()
    assert "--stack-name my-stack" in log
    assert "--region eu-central-1" in log
    assert "sk-hush" not in log + done.stdout + done.stderr


@pytest.mark.parametrize(
    "target",
    ["setup", "{}/bin/python", "{}/.sam", "{}-bench-vendor/.bench", "{}-connect/.connect", "lock"],
)
def test_no_half_made_environment_is_left(run: Run, tmp_path: Path, target: str) -> None:
    """If an environment cannot be created, every make says why and none uses half of one."""
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    run.environ["REAL_PYTHON"] = sys.executable
    made = tmp_path / "environment"
    for _ in range(2):
        done = run(target.format(made), f"VENV={made}", f"SAM_VENV={made}", f"PYTHON={python}")
        assert done.returncode != 0
        assert "no ensurepip" in done.stdout
    assert not list(tmp_path.glob("environment*"))


@pytest.mark.parametrize(
    "target", ["setup", "{}/.sam", "{}-bench-vendor/.bench", "{}-connect/.connect", "lock"]
)
def test_an_old_python_is_refused(run: Run, tmp_path: Path, target: str) -> None:
    """A Python that is too old is refused with the version that is needed."""
    python = tmp_path / "python"
    # The real one, reporting an older version.
    python.write_text(
        "#!/bin/sh\ncode=$2; shift 2\n"
        f"""exec "{sys.executable}" -c "import sys; sys.version_info = (3, 10); $code" "$@"\n"""
    )
    python.chmod(0o755)
    made = tmp_path / "environment"
    done = run(target.format(made), f"VENV={made}", f"SAM_VENV={made}", f"PYTHON={python}")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not list(tmp_path.glob("environment*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["UPSTREAM=openai"], "OPENAI_API_KEY"),
        (["UPSTREAM=foo"], "UPSTREAM=foo is neither"),
        (["PORT=99999"], "PORT: 99999 is not a port"),
        (["CODE=built", "TRANSPORT=uvicorn"], "serves the source tree"),
    ],
)
def test_a_mistake_is_reported_before_an_install(
    run: Run, tmp_path: Path, given: list[str], message: str
) -> None:
    """A wrong option or a missing key is reported before anything is installed."""
    run.environ.pop("OPENAI_API_KEY", None)
    done = run("run", f"VENV={tmp_path / 'venv'}", *given)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("upstream", "needed"), [("", True), ("model", True), ("openai", False), ("http://a", False)]
)
def test_the_embedded_model_is_installed_only_if_used(
    run: Run, tmp_path: Path, upstream: str, needed: bool
) -> None:
    """The embedded model's 130 MB are installed only if that model is used."""
    for target in ("run", "invoke"):
        done = run("-n", target, f"VENV={tmp_path / 'venv'}", f"UPSTREAM={upstream}")
        assert ("the embedded model" in done.stdout) is needed
        assert "what the function and the local deployment need" in done.stdout


def test_a_lock_uses_the_systems_certificates(run: Run) -> None:
    """The lock uses the system's certificates, since uv's own list lacks a company's authority."""
    assert "UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1" in run("-n", "lock").stdout
