"""Variables that are too long for Lambda are reported before a deployment."""

import json
import os
import shutil
import subprocess
from bisect import bisect_left
from pathlib import Path

import pytest

from local.variables import LIMIT_BYTES, oversize, size_bytes
from tests.support.sam import ROOT, SAM_VENV

TEMPLATE = Path(__file__).resolve().parents[3] / "template.yaml"
WORDS = json.dumps(["One moment, please"] * 150)


def test_the_defaults_leave_room() -> None:
    """The defaults are below the limit."""
    assert oversize(TEMPLATE, {}, "voice-completions") == ""


def test_a_variable_that_is_too_long_is_named_as_its_parameter() -> None:
    """The longest comes first, by its name in samconfig.toml."""
    found = oversize(TEMPLATE, {"BufferWords": WORDS}, "voice-completions")
    assert "The longest: BufferWords 3," in found
    assert f"Lambda allows {LIMIT_BYTES:,}" in found


def test_names_values_and_escapes_count() -> None:
    """Lambda measures the JSON in bytes, so a quotation mark and an umlaut count as two each."""
    assert size_bytes({"A": '"'}) == len(b'{"A":"\\""}')
    assert size_bytes({"A": "ä"}) == len('{"A":"ä"}'.encode())


def test_the_stacks_own_values_count_too() -> None:
    """The stack's name and its secrets' ARNs are counted at their deployed length."""
    # Each look reads the whole template.
    free = bisect_left(
        range(1, 3500),
        True,
        key=lambda room: bool(oversize(TEMPLATE, {"UpstreamModel": "m" * room}, "s")),
    )
    fits = {"UpstreamModel": "m" * free}
    assert oversize(TEMPLATE, fits, "s") == ""
    assert oversize(TEMPLATE, fits, "a-longer-name") != ""


@pytest.mark.parametrize("extra", ["UpstreamExtraBody", "FallbackExtraBody"])
def test_an_extra_body_may_be_long_but_not_too_long(extra: str) -> None:
    """A few fields fit, a whole prompt does not."""
    small, large = (json.dumps({"prompt": "x" * size}) for size in (1000, 4000))
    assert oversize(TEMPLATE, {extra: small}, "voice-completions") == ""
    assert extra in oversize(TEMPLATE, {extra: large}, "voice-completions")


def said(folder: Path, config: str) -> str:
    """Return what the check of a stage prints with this configuration, called as by make."""
    shutil.copy(TEMPLATE, folder)
    (folder / "samconfig.toml").write_text(config)
    program = "import local.variables as v, pathlib; v.ROOT = pathlib.Path.cwd(); v.main()"
    done = subprocess.run(
        [SAM_VENV / "bin" / "python", "-c", program, "default"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


@pytest.mark.skipif(not (SAM_VENV / "bin" / "python").exists(), reason="the SAM CLI's environment")
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("[default.global.parameters]\nparameter_overrides = [", "samconfig.toml cannot be read"),
        ('[default.deploy.parameters]\nparameter_overrides = ["?"]', "samconfig.toml cannot be"),
        (
            f"[default.deploy.parameters]\nparameter_overrides = ['UpstreamModel={'m' * 3800}']",
            "The longest: UpstreamModel 3,",
        ),
        ("", ""),
    ],
)
def test_samconfig_is_read_as_sam_reads_it(tmp_path: Path, config: str, expected: str) -> None:
    """A command's own values count, and an unreadable file is reported without a traceback."""
    stderr = said(tmp_path, config)
    assert "Traceback" not in stderr
    assert stderr.startswith(expected) if "cannot" in expected else expected in stderr
    assert bool(stderr) is bool(expected)
