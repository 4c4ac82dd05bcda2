"""`python3 -m ops.doctor URL`: options, the caller key, the exit status.

Exit status: 0, a voice agent can use the URL; 1, it cannot; 2, the command was not understood;
130, stopped by Ctrl-C. The key is read from DOCTOR_KEY or asked for, and is never an argument:
those show in the process list.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from ops.caller_key import caller_key
from ops.doctor import report
from ops.doctor.checks import CheckRun, Finding
from ops.pasted_url import Address

YES, NO, USAGE, STOPPED = 0, 1, 2, 130


def main() -> int:
    """Make one run and print it; return the exit status."""
    options = _options()
    try:
        address = Address.parse(options.url)
        key = caller_key("DOCTOR_KEY", "make doctor URL=… KEY=…")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except (KeyboardInterrupt, EOFError):
        return STOPPED
    run = CheckRun(
        address,
        key,
        options.model,
        timeout_s=options.timeout_s,
        patience_ms=options.patience_s * 1000,
    )
    findings: list[Finding] = []
    whole = False
    if not options.json:
        print(f"{address.base_url}\n\n{report.HEADING}", flush=True)
    try:
        for finding in run.rows():
            findings.append(finding)
            if not options.json:
                print(report.row(finding), flush=True)
        whole = True
    except KeyboardInterrupt:
        pass
    if options.json:
        print(json.dumps(report.as_json(run, findings, whole=whole), indent=2))
    else:
        print(f"\n{report.causes(findings)}")
        print(report.verdict(run, findings, whole=whole))
    if not whole:
        return STOPPED
    return YES if report.usable(findings) else NO


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m ops.doctor",
        description="Play a voice platform against a URL, and say what is wrong with it.",
        epilog="The caller key is read from the variable DOCTOR_KEY, or asked for.",
    )
    url = os.environ.get("DOCTOR_URL")
    parser.add_argument("url", nargs="?", default=url, help="or DOCTOR_URL")
    model = os.environ.get("DOCTOR_MODEL") or "gpt-4.1-mini"
    parser.add_argument("--model", default=model, help=f"the model to ask for ({model})")
    parser.add_argument("--timeout-s", type=_seconds, default=20.0, help="for one answer (20)")
    parser.add_argument(
        "--patience-s", type=_seconds, default=4.0, help="the platform's, until first words (4)"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    if not options.url:
        parser.error("which URL? make doctor URL=https://... (make run: http://127.0.0.1:8080)")
    return options


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 600:
        raise ValueError(text)
    return seconds


if __name__ == "__main__":
    # A model's words may not fit the terminal's encoding.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        sys.exit(main())
    except BrokenPipeError:
        # The reader of our output has closed it. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(STOPPED)
