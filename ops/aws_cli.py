"""The AWS CLI, run as a child process: whatever credentials work there work here."""

from __future__ import annotations

import os
import subprocess

from ops.command_problem import Problem


def aws(region: str, *arguments: str, output: str = "json", stdin: str = "") -> str:
    """Return what the AWS CLI prints. What must not show in a process list goes by `stdin`.

    Raises:
        Problem: There is no AWS CLI, or it failed; then in its own words.
    """
    # make finds the command: a Python that a shim started may have another PATH.
    cli = os.environ.get("AWS_CLI") or "aws"
    command = [cli, *(["--region", region] if region else []), *arguments, "--output", output]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Problem("The AWS CLI is needed: there is no command `aws`.") from error
    if done.returncode:
        raise Problem(done.stderr.strip() or f"aws {arguments[0]} failed.")
    return done.stdout
