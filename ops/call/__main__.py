"""`python -m ops.call calls/*.yaml`: play call files, and say which of them passed.

Without a URL a deployment is started here, and its models play the files' scripts. Exit status: 0,
all passed; 1, a call failed; 2, one could not be played, or none was; 130, stopped by Ctrl-C. The
caller key is the variable CALL_KEY, never an argument: the process list shows arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ops import arguments
from ops.call import html_report, report
from ops.call.agent import AgentServer
from ops.call.call_file import CallFile, load
from ops.call.play import Played, play
from ops.call.scripted_deployment import ScriptedDeployments
from ops.call.yaml_with_lines import CallFileError
from ops.command_problem import Problem
from ops.pasted_url import Address

WELL, FAILED, UNPLAYABLE, STOPPED = 0, 1, 2, 130
SKIPPED = "its model is scripted: only without a URL"


def main() -> int:
    """Play, print, and return the exit status."""
    options = _options()
    try:
        files = [load(file) for file in options.files]
        server = _server(options)
    except (CallFileError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNPLAYABLE
    all_played: list[Played] = []
    deployments = ScriptedDeployments(("--code", options.code, "--transport", options.transport))
    status = WELL
    print(report.HEADING, flush=True)
    try:
        for played in _plays(files, server, deployments, options):
            all_played.append(played)
            print(report.row(played), flush=True)
            if played.result in {"failed", "unplayable"} or (options.verbose and played.turns):
                print("\n".join(["", *report.transcript(played), ""]), flush=True)
    except KeyboardInterrupt:
        status = STOPPED
    finally:
        deployments.stop()
    print("\n".join(["", *report.summary(all_played)]))
    if options.junit:
        options.junit.write_bytes(report.junit(all_played))
    if options.html:
        options.html.write_text(html_report.page(all_played), "utf-8")
    results = {played.result for played in all_played}
    if status == WELL and ("unplayable" in results or results <= {"skipped"}):
        status = UNPLAYABLE
    return FAILED if status == WELL and "failed" in results else status


def _plays(
    files: list[CallFile],
    server: AgentServer | None,
    deployments: ScriptedDeployments,
    options: argparse.Namespace,
) -> Iterator[Played]:
    for _ in range(options.repeat):
        for file in files:
            if server is not None and file.scripted:
                yield Played(file, skipped=SKIPPED)
                continue
            if server is None and not file.scripted:
                yield Played(file, skipped="it needs a real model: URL=…")
                continue
            try:
                yield _one(file, server, deployments, options)
            except Problem as problem:
                yield Played(file, unplayable=str(problem))


def _one(
    file: CallFile,
    server: AgentServer | None,
    deployments: ScriptedDeployments,
    options: argparse.Namespace,
) -> Played:
    if options.model:
        file = replace(file, agent=replace(file.agent, model=options.model))
    if server is not None:
        return play(file, server, speed=options.speed)
    deployment = deployments.started(file.parameters, fallback=file.has_fallback)
    return play(file, deployment.server, deployment, speed=options.speed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.call", description="Play call files.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--url", default=os.environ.get("CALL_URL", ""), help="or CALL_URL")
    model = os.environ.get("CALL_MODEL", "")
    parser.add_argument("--model", default=model, help="replaces the files' model; or CALL_MODEL")
    parser.add_argument("--repeat", type=arguments.count, default=1, help="play each this often")
    parser.add_argument("--verbose", action="store_true", help="show all transcripts")
    parser.add_argument("--junit", type=Path, metavar="FILE")
    parser.add_argument("--html", type=Path, metavar="FILE")
    parser.add_argument("--speed", type=arguments.speed, default=1.0, help="of speech (1)")
    parser.add_argument("--code", choices=("source", "built"), default="source")
    parser.add_argument("--transport", choices=("lambda", "uvicorn"), default="lambda")
    return parser.parse_args()


def _server(options: argparse.Namespace) -> AgentServer | None:
    if not options.url:
        return None
    key = os.environ.get("CALL_KEY", "").strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("no caller key that a header can carry: make call URL=… KEY=…")
    return AgentServer(Address.parse(options.url), key)


if __name__ == "__main__":
    # The terminal's encoding may lack characters that a model says.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
