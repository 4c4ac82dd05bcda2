"""AWS's own tools for a template: SAM's translator, its parameters, its linter.

They are in the SAM CLI's environment, so a process of its Python runs them. It is kept for the next
call, since their imports take longer than most calls.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAM_VENV = ROOT / ".venv-sam"
SAMCONFIG = ROOT / "samconfig.toml"
CODE = {"CompletionsFunction": "CodeUri", "StreamingLayer": "ContentUri"}
"""Properties that name what is uploaded."""

_PROGRAM = """
import json, sys, traceback

for line in sys.stdin:
    code, given = json.loads(line)
    names = {"given": given}
    try:
        exec(code, names)
        told = {"answer": names["answer"]}
    except Exception:
        told = {"error": traceback.format_exc()}
    print(json.dumps(told), flush=True)
"""
_TRANSLATE = """
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

class NoPolicies:
    def load(self):
        return {}

template = yaml_parse(given["template"])
for logical_id, place in given["code"].items():
    template["Resources"][logical_id]["Properties"][place] = "s3://bucket/" + logical_id
answer = transform(template, given["parameters"], NoPolicies())
"""
_LINT = """
from cfnlint.api import lint
answer = [str(match) for match in lint(given["template"], regions=given["regions"])]
"""
_PARAMETERS = """
from samcli.cli.types import CfnParameterOverridesType
answer = CfnParameterOverridesType().convert(given, None, None)
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of samconfig.toml, as SAM reads it."""

    name: str
    stack: str
    parameters: Mapping[str, str]


def stages() -> list[str]:
    """Return the stages of samconfig.toml, the default one first."""
    return [name for name, table in _config().items() if isinstance(table, dict)]


def stage(name: str) -> Stage:
    """Return one stage, with its parameters read by SAM itself."""
    configured = _config()[name]["global"]["parameters"]
    return Stage(name, configured["stack_name"], parameters(configured["parameter_overrides"]))


def translated(template: str, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the template after SAM's transform, with addresses for missing uploads."""
    code = {} if "s3://" in template or "Bucket" in template else CODE
    given = {"template": template, "parameters": dict(values or {}), "code": code}
    document: dict[str, Any] = _ask(_TRANSLATE, given)
    return document


def lint(template: Mapping[str, Any], regions: Iterable[str] = ("us-east-1",)) -> list[str]:
    """Return cfn-lint's findings."""
    found: list[str] = _ask(_LINT, {"template": json.dumps(template), "regions": [*regions]})
    return found


def parameters(overrides: Iterable[str]) -> dict[str, str]:
    """Return the items of `parameter_overrides` as SAM reads them."""
    read: dict[str, str] = _ask(_PARAMETERS, [*overrides])
    return read


def _config() -> dict[str, Any]:
    return tomllib.loads(SAMCONFIG.read_text())


@cache
def _process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [SAM_VENV / "bin/python", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"AWS_DEFAULT_REGION": "us-east-1", "PATH": os.environ["PATH"]},
        text=True,
    )
    atexit.register(process.communicate)
    return process


def _ask(code: str, given: object) -> Any:
    process = _process()
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps([code, given]) + "\n")
    process.stdin.flush()
    told = json.loads(process.stdout.readline())
    assert "error" not in told, told["error"]
    return told["answer"]
