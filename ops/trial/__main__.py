"""`make trial`: deploys, asks, reports, and deletes, even after Ctrl-C or a failure.

Exit status: 0, every question was asked and nothing is left; 1, something failed or is left; 2,
wrong usage, or nobody said yes; 130, stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ops.command_problem import Problem, usage
from ops.trial import report, stacks
from ops.trial.account import ERRORS, Account, current_account
from ops.trial.deployment import DeployedLab
from ops.trial.probe import Lab, Measured
from ops.trial.question_table import PROBES
from ops.trial.report import Report
from ops.trial.stacks import Stacks

RUNS = Path(".trial")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PLAN = """\
A trial in account {account.number} ({account.caller}), Region {account.region}.
It creates two stacks and a bucket named {name}: nine functions with public addresses, a layer, two
roles, two secrets, a dashboard and seven alarms. It sends them some {requests} requests, takes
about 15 minutes, costs a few cents, and deletes everything at its end. docs/trial.md says more.
"""


def main() -> int:
    """Make a trial; return the exit status."""
    options = _options()
    for each in SIGNALS:
        signal.signal(each, _stop)
    try:
        account = current_account(options.region, options.endpoint)
        if options.take_away:
            if not stacks.NAME.fullmatch(options.take_away):
                raise usage(f"{options.take_away} is not a trial's name.")
            return _delete(Stacks(options.take_away, account, RUNS, options.poll_s))
        status = _delete_crashed(account, options.poll_s)
        return _trial(options, account) or status
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.status
    except ERRORS as error:
        print(f"AWS refused: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def ask(lab: Lab, results: Report) -> None:
    """Ask every question. One that breaks is answered with `cannot tell`."""
    for probe in PROBES:
        try:
            measured = probe.ask(lab)
        except (Problem, *ERRORS, OSError, ValueError, LookupError) as error:
            measured = Measured(f"{type(error).__name__}: {error}"[:300], None)
        results.note(probe, measured)
        _say(report.line(probe, measured))


def _trial(options: argparse.Namespace, account: Account) -> int:
    name = stacks.new_name()
    requests = options.rounds * 3 + 80
    _say(PLAN.format(name=name, requests=requests, account=account))
    if not options.yes and not _agreed():
        raise usage("Nothing was created.")
    mine = Stacks(name, account, RUNS, options.poll_s)
    results = Report(RUNS / f"{name}.md", f"The trial {name}", _facts(account, options))
    results.write()
    _say(f"The report: {results.path}\n")
    status = 1
    try:
        mine.begin()
        lab = DeployedLab(
            mine,
            options.packages.resolve(),
            options.architecture,
            options.rounds,
            options.patience_s,
        )
        lab.prepare(lambda text: _say(f"{text} ..."))
        ask(lab, results)
        results.end("every question was asked")
        status = 0
    except KeyboardInterrupt:
        results.end("stopped early")
        status = 130
    except (Problem, *ERRORS) as error:
        results.end(f"it failed: {str(error).splitlines()[0]}")
        _say(str(error), sys.stderr)
    except BaseException as error:
        results.end(f"it broke: {type(error).__name__}")
        raise
    finally:
        with suppress(KeyboardInterrupt):  # It may come right now.
            _disregard_signals()
        _say("deleting what was created ...")
        left = mine.delete()
        results.note_left(left)
    _say(f"\n{results.path}")
    return _say_left(mine, left) or status


def _facts(account: Account, options: argparse.Namespace) -> dict[str, str]:
    facts = {"Region": account.region, "architecture": options.architecture}
    if account.endpoint:
        facts["not AWS"] = f"{account.endpoint} played all of it"
    return facts


def _delete_crashed(account: Account, poll_s: float) -> int:
    """Delete what crashed trials of this checkout have left; report others."""
    status = 0
    for each in stacks.crashed(account, RUNS):
        status = max(status, _delete(replace(each, poll_s=poll_s)))
    for name in stacks.others(account, RUNS):
        _say(
            f"There is another trial, {name}. If it is not running: make trial TAKE_AWAY={name}, "
            "with its REGION and credentials."
        )
    return status


def _delete(found: Stacks) -> int:
    _say(f"deleting {found.name} ...")
    return _say_left(found, found.delete())


def _say_left(mine: Stacks, left: list[str]) -> int:
    for each in left:
        _say(f"NOT deleted: {each}", sys.stderr)
    if left:
        _say(f"Try again: make trial TAKE_AWAY={mine.name}", sys.stderr)
    return 1 if left else 0


def _say(text: str, where: TextIO | None = None) -> None:
    """Print a text if anybody still reads it.

    Ctrl-C ends a `tee` as well, and a closed terminal accepts no output: neither may keep a trial
    from being deleted.
    """
    with suppress(OSError):
        print(text, file=where or sys.stdout, flush=True)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise usage("There is no terminal to ask at: YES=1 agrees.")
    with suppress(EOFError):  # Ctrl-D
        return input("Type yes to go on: ").strip() == "yes"
    return False


def _stop(*_: Any) -> None:
    """Stop once: the deletion follows, which another signal must not end."""
    _disregard_signals()
    raise KeyboardInterrupt


def _disregard_signals() -> None:
    for each in SIGNALS:
        signal.signal(each, _go_on)


def _go_on(*_: Any) -> None:
    # The signal may have come in the middle of a print, which cannot be entered twice.
    with suppress(OSError):
        os.write(2, b"All of it is being taken away; that is waited for.\n")


def _options() -> argparse.Namespace:
    env = os.environ.get
    parser = argparse.ArgumentParser(prog="make trial", description=__doc__.split("\n")[0])
    parser.add_argument("--region", default=env("REGION", ""))
    parser.add_argument("--packages", type=Path, default=Path(env("TRIAL_PACKAGES", "")))
    parser.add_argument("--architecture", default=env("TRIAL_ARCHITECTURE", "arm64"))
    parser.add_argument("--take-away", default=env("TAKE_AWAY", ""), help="an earlier trial's name")
    parser.add_argument("--yes", action="store_true", default=env("YES", "") == "1")
    parser.add_argument("--rounds", type=int, default=30, help="how often a gap is measured")
    parser.add_argument("--patience-s", type=float, default=240, help="for logs and metrics")
    parser.add_argument("--poll-s", type=float, default=stacks.POLL_S, help="between looks")
    parser.add_argument(
        "--endpoint", default=env("TRIAL_ENDPOINT", ""), help="stands for all of AWS"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
