"""`make upstream-key`: asks for the keys of the model APIs and stores them in the deployed secret.

Then it plays one real turn, since callers would only hear an apology for a key that is refused.

Keys are typed without echo, and go to the AWS CLI through a pipe: they are never an argument, a
parameter or a line of a shell's history. Standard library and the AWS CLI only, so that whatever
credentials work there work here.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys

from ops import real_turn
from ops.aws_cli import aws
from ops.command_problem import Problem
from ops.connect.deployment import stack_deployment

SECRET = "UpstreamKeySecret"  # noqa: S105 - its logical id in template.yaml
OWNERS = {"upstream": "model API", "fallback": "fallback, if there is one"}


def main() -> int:
    """Return the exit status. 0: stored. 1: nothing stored, and why. 130: interrupted."""
    parser = argparse.ArgumentParser(prog="make upstream-key", description=__doc__.split("\n")[0])
    parser.add_argument("--stack", default=os.environ.get("STACK") or "voice-completions")
    parser.add_argument("--region", default=os.environ.get("REGION") or "")
    options = parser.parse_args()
    try:
        renew(options.stack, options.region)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        print("\nNothing stored.", file=sys.stderr)
        return 130
    print("Stored. Running environments use it within KeyTtlS seconds.")
    try:
        server = stack_deployment(options.stack, options.region)
    except Problem:
        print("No turn was tried: the stack's URL and caller key could not be read.")
    else:
        real_turn.play_and_print(server.url, server.key, server.model)
    return 0


def renew(stack: str, region: str) -> None:
    """Ask for the keys and store them.

    Raises:
        Problem: No key was given, or the AWS CLI failed.
    """
    cloudformation = ["cloudformation", "describe-stack-resource", "--stack-name", stack]
    query = ["--query", "StackResourceDetail.PhysicalResourceId"]
    arguments = [*cloudformation, "--logical-resource-id", SECRET, *query]
    secret = aws(region, *arguments, output="text").strip()
    before = _stored(region, secret)
    keys = {**before, **{name: key for name in OWNERS if (key := _asked(name, name in before))}}
    if keys == before:
        raise Problem("No key given, nothing stored.")
    put = ["secretsmanager", "put-secret-value", "--secret-id", secret, "--query", "VersionId"]
    value = json.dumps(keys)
    aws(region, *put, "--secret-string", "file:///dev/stdin", output="text", stdin=value)


def _stored(region: str, secret: str) -> dict[str, str]:
    """Return the stored keys: none before the first, none if the value is broken."""
    get = ["secretsmanager", "get-secret-value", "--secret-id", secret, "--query", "SecretString"]
    try:
        text = aws(region, *get, output="text").strip()
    except Problem as problem:
        if "ResourceNotFoundException" in str(problem):
            return {}
        raise
    try:
        value = json.loads(text)
    except ValueError:
        value = "" if text.startswith(("{", "[", '"')) else text
    if isinstance(value, str):
        return {"upstream": value} if value else {}
    return value if isinstance(value, dict) else {}


def _asked(name: str, there: bool) -> str:
    """Read a key from the terminal, unseen, or a line of stdin; empty to change nothing."""
    otherwise = "Return keeps the one that is stored" if there else "Return for none"
    prompt = f"Key of the {OWNERS[name]} (not shown; {otherwise}): "
    try:
        # getpass would go past a pipe to the terminal, or warn that it cannot hide what is typed.
        line = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        line = ""
    key = line.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise Problem("That is no key: it has spaces or special characters in it. Nothing stored.")
    return key


if __name__ == "__main__":
    sys.exit(main())
