"""`python -m ops.talk [URL]`: serve the page, and print its address.

Without a URL it starts the deployment. The key is read from TALK_KEY or asked for, and stays here.
Exit status: 0 after Ctrl-C; 1, something did not start; 2, the command was not understood.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys

from ops import arguments
from ops.call.agent import AgentServer
from ops.caller_key import caller_key
from ops.command_problem import Problem, usage
from ops.pasted_url import Address
from ops.talk.conversation import Conversation
from ops.talk.local_deployment import LocalDeployment
from ops.talk.server import PageServer


def main() -> int:
    """Serve until Ctrl-C."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            _serve(options, stack)
    except Problem as problem:
        if str(problem):  # else it has been said
            print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except (KeyboardInterrupt, EOFError):
        return 0
    return 0


def _serve(options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    local: LocalDeployment | None = None
    if options.url:
        try:
            address, key = (
                Address.parse(options.url),
                caller_key("TALK_KEY", "make talk URL=… KEY=…"),
            )
        except ValueError as error:
            raise usage(str(error)) from error
    else:
        local = stack.enter_context(LocalDeployment(options.model))
        address, key = Address.parse(local.url), local.key
    fault_injector = local.fault_injector if local else None
    conversation = Conversation(
        AgentServer(address, key),
        model=options.model,
        speed=options.speed,
        behaviour=(lambda: fault_injector.behaviour) if fault_injector else None,
        logs=local.log_lines if local else lambda _: [],
    )
    try:
        server = PageServer(conversation, fault_injector=fault_injector, port=options.port)
    except OSError as error:
        raise Problem(f"port {options.port} is taken: choose another one with TALK_PORT") from error
    with server:
        print(f"talk {server.address}", flush=True)
        server.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ops.talk",
        description="A page to talk with a deployment, and to see what each turn did.",
        epilog="The caller key: the variable TALK_KEY, else it is asked for.",
    )
    env = os.environ.get
    parser.add_argument("url", nargs="?", default=env("TALK_URL"), help="or TALK_URL")
    parser.add_argument("--model", default=env("TALK_MODEL") or "gpt-4.1-mini")
    # As texts, so that they are checked like the arguments.
    parser.add_argument("--port", type=arguments.port, default=env("TALK_PORT") or "0")
    speed = env("TALK_SPEED") or "1"
    parser.add_argument(
        "--speed", type=arguments.speed, default=speed, help="of the agent's speech (1)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
