"""Checks the function's variables against Lambda's limit, before AWS refuses the deployment.

Lambda measures all of them together, as JSON with its escapes: its error says "exceeded the 4KB
limit. String measured: {…}". Before it builds, make runs `python -m local.variables STAGE` in the
SAM CLI's environment, which reads samconfig.toml as SAM does.
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.intrinsics import FUNCTION, SECRET, TemplateError, read
from local.template import Template

ROOT = Path(__file__).resolve().parents[1]
LIMIT_BYTES = 4096  # "Lambda quotas", AWS Lambda developer guide
SECRET_SUFFIX_BYTES = 26
"""How much longer an ARN is on AWS than the one resolved here: random end, longer Region."""
SHOWN = 3


def oversize(path: Path, parameters: Mapping[str, str], stack: str) -> str:
    """Return what is too long, the longest first, or nothing. Raises `TemplateError`."""
    template = Template(path, parameters)
    document = read(path)
    (raw,) = (
        resource["Properties"].get("Environment", {}).get("Variables", {})
        for resource in document["Resources"].values()
        if resource.get("Type") == FUNCTION
    )
    variables = dict(template.function.environment)
    names = {}
    for name, value in raw.items():
        reference = value.get("Ref", "") if isinstance(value, dict) else ""
        if reference == "AWS::StackName":
            variables[name] = stack
        if document["Resources"].get(reference, {}).get("Type") == SECRET:
            variables[name] += "x" * SECRET_SUFFIX_BYTES
        names[name] = reference if reference in document.get("Parameters", {}) else name
    size = size_bytes(variables)
    if size <= LIMIT_BYTES:
        return ""
    lengths = sorted(((size_bytes({k: v}), names[k]) for k, v in variables.items()), reverse=True)
    longest = ", ".join(f"{name} {length:,}" for length, name in lengths[:SHOWN])
    return (
        f"The function's variables take {size:,} bytes, and Lambda allows {LIMIT_BYTES:,}. The "
        f"longest: {longest}. Shorten them in samconfig.toml."
    )


def size_bytes(variables: Mapping[str, str]) -> int:
    """Return how many bytes Lambda counts."""
    return len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode())


def main() -> None:
    """Check one stage of samconfig.toml; end the process with what is wrong."""
    # Installed only in the SAM CLI's environment.
    from click import BadParameter
    from samcli.cli.types import CfnParameterOverridesType  # type: ignore[import-not-found]

    stage = sys.argv[1]
    try:
        config: Any = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
        options: dict[str, Any] = {}
        for command in ("global", "deploy"):  # SAM prefers what a command has of its own.
            options |= config.get(stage, {}).get(command, {}).get("parameters", {})
        overrides = options.get("parameter_overrides", [])
        parameters = CfnParameterOverridesType().convert(overrides, None, None)
    except (tomllib.TOMLDecodeError, BadParameter) as error:
        sys.exit(f"samconfig.toml cannot be read: {error}")
    try:
        found = oversize(ROOT / "template.yaml", parameters, options.get("stack_name", ""))
    except TemplateError as error:
        found = str(error)
    if found:
        sys.exit(f"{stage}: {found}")


if __name__ == "__main__":
    main()
