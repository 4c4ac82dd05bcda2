"""The command: finds both sides, shows the change, asks, makes it and checks the result.

Every option can also be set as the environment variable that make turns `NAME=value` into. Keys
have no option: they come from the environment, from AWS, or from a prompt without echo.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ops import real_turn
from ops.command_problem import Problem, usage
from ops.connect import call_start
from ops.connect.agent import (
    API_TYPES,
    Change,
    WantedSettings,
    changes,
    model_of,
    other_changes,
    own_llms,
    patch,
)
from ops.connect.deployment import (
    LONGEST_S,
    SHORTEST_S,
    Deployment,
    stack_deployment,
    url_deployment,
)
from ops.connect.elevenlabs_workspace import Workspace
from ops.connect.secret import Secret, StoreAction, choose_secret

# The environment variables that set the options of the same name.
OPTIONS = (
    "AGENT",
    "URL",
    "STACK",
    "REGION",
    "MODEL",
    "API_TYPE",
    "MAX_TOKENS",
    "CASCADE_TIMEOUT_S",
    "WARM",
    "YES",
    "DRY_RUN",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0: connected, or nothing to do; 1: failed or declined; 2: called wrongly."""
    try:
        return connect(_options(arguments))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again: finished steps are not repeated.", file=sys.stderr)
        return 130


def connect(options: argparse.Namespace) -> int:
    """Point the agent at the deployment. Raises Problem."""
    if not (options.yes or options.dry_run or sys.stdin.isatty()):
        raise usage(
            "There is no terminal to ask at. YES=1 makes the change without asking, DRY_RUN=1 "
            "only shows it."
        )
    api_key = _key("ELEVENLABS_API_KEY", "API key of the ElevenLabs workspace")
    server = _deployment(options)
    workspace = Workspace(
        api_key,
        os.environ.get("ELEVENLABS_BASE_URL", ""),
        agent_id=options.agent,
        caller_key=server.key,
    )
    agent = workspace.agent()
    secret = choose_secret(server.url, server.key, workspace.secrets())
    name = _printable(f'Agent "{agent.get("name", "")}" ({options.agent})')
    wanted = WantedSettings(
        url=server.url,
        secret_id=secret.id,
        secret_name=secret.name,
        cascade_timeout_s=options.cascade_timeout_s or server.patience_s,
        model=server.model_for(options.model, model_of(agent)),
        api_type=options.api_type,
        max_tokens=options.max_tokens,
        warm=_warm(options, agent, server.url),
    )
    pending = changes(agent, wanted)
    if not pending and secret.store is StoreAction.NOTHING:
        print(f"{name}: nothing to change.")
        real_turn.play_and_print(server.url, server.key, wanted.model or "")
        return 0

    print(f"{name}:")
    _show(pending, secret)
    for node in own_llms(agent):
        print(_printable(f'  The workflow node "{node}" keeps its own LLM.'))
    if options.dry_run:
        print("Nothing was changed (DRY_RUN).")
        return 0
    if not options.yes and not _agreed():
        print("Nothing was changed.")
        return 1

    secret_id = _store(workspace, secret)
    if not pending:
        print("Done: the caller key is stored.")
        real_turn.play_and_print(server.url, server.key, wanted.model or "")
        return 0
    wanted = replace(wanted, secret_id=secret_id)
    after = workspace.update_agent(patch(agent, wanted))
    if missed := changes(after, wanted):
        print("Still:")
        _show(missed, None)
        raise Problem("The platform accepted the change, but these settings are not as sent.")
    for path in other_changes(agent, after, warm=bool(wanted.warm)):
        print(_printable(f"  NOTE: the platform changed {path} as well."))
    print(f"Done. `make doctor URL={server.url}` plays a call against the same server.")
    real_turn.play_and_print(server.url, server.key, wanted.model or "")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    given = {name: os.environ.get(name, "").strip() for name in OPTIONS}
    parser = argparse.ArgumentParser(prog="make connect", description=__doc__)
    parser.add_argument("--agent", default=given["AGENT"], help="its id, agent_...")
    parser.add_argument("--url", default=given["URL"], help="the server, if not an AWS stack")
    parser.add_argument("--stack", default=given["STACK"] or "voice-completions")
    parser.add_argument("--region", default=given["REGION"])
    parser.add_argument("--model", default=given["MODEL"])
    parser.add_argument("--api-type", default=given["API_TYPE"] or None, choices=API_TYPES)
    parser.add_argument("--max-tokens", type=int, default=given["MAX_TOKENS"] or None)
    parser.add_argument(
        "--cascade-timeout-s", type=float, default=given["CASCADE_TIMEOUT_S"] or None
    )
    parser.add_argument("--warm", default=given["WARM"], help="0, or for how many environments")
    for switch in ("YES", "DRY_RUN"):
        option = "--" + switch.lower().replace("_", "-")
        parser.add_argument(
            option, action="store_true", default=given[switch] not in {"", "0", "no"}
        )
    options = parser.parse_args(arguments)
    if not options.agent:
        parser.error("AGENT=... names the agent; its id is in its address in the dashboard")
    # A default is not checked against `choices`, and this one came from outside.
    if options.api_type and options.api_type not in API_TYPES:
        parser.error(f"API_TYPE is one of {', '.join(API_TYPES)}")
    if options.max_tokens is not None and not (options.max_tokens > 0 or options.max_tokens == -1):
        parser.error("MAX_TOKENS is a positive number, or -1 for no limit")
    if options.warm not in {"", *map(str, range(call_start.MOST_ENVIRONMENTS + 1))}:
        parser.error(f"WARM is 0, or how many environments: 1 to {call_start.MOST_ENVIRONMENTS}")
    patience_s = options.cascade_timeout_s
    if patience_s is not None and not SHORTEST_S <= patience_s <= LONGEST_S:
        parser.error(f"CASCADE_TIMEOUT_S is between {SHORTEST_S:g} and {LONGEST_S:g}")
    return options


def _warm(options: argparse.Namespace, agent: dict[str, Any], url: str) -> int:
    """Return how many environments an announced call prepares; 0 leaves the webhook as it is.

    Asks if WARM is not set, unless there is nothing to choose.
    """
    if options.warm == "0":
        return 0
    if why := call_start.obstacle(agent, url):
        if options.warm:
            print(_printable(f"The webhook for the start of a call stays as it is: {why}."))
        return 0
    if options.warm:
        return int(options.warm)
    if call_start.is_set(agent, url) or options.yes:
        return 0
    if options.dry_run:
        print("WARM=1 would also let the platform announce calls, for a faster first turn.")
        return 0
    return int(_agreed("Let the platform announce telephone calls, for a faster first turn?"))


def _deployment(options: argparse.Namespace) -> Deployment:
    if options.url:
        server = url_deployment(options.url, "")  # check the URL before asking for a key
        return Deployment(server.url, _key("CALLER_KEY", "Caller key of the server"))
    return stack_deployment(options.stack, options.region)


def _key(variable: str, what: str) -> str:
    """Return a key from the environment, or ask for it without echo. Raises Problem."""
    key = os.environ.get(variable, "").strip()
    if not key:
        if not sys.stdin.isatty():
            raise usage(f"{variable} is not set, and there is no terminal to ask for it.")
        try:
            key = getpass.getpass(f"{what} (not shown): ").strip()
        except EOFError:
            key = ""
    if not key:
        raise usage(f"No key given. Type it, or set {variable} in the environment.")
    if not re.fullmatch(r"[!-~]+", key):
        raise usage(f"{variable} has characters that no key has. Paste only the key.")
    return key


def _show(pending: list[Change], secret: Secret | None) -> None:
    rows = [(each.what, each.old or "(none)", each.new or "(none)") for each in pending]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    for what, old, new in rows:
        line = f"  {what:<{widths[0]}}  {old:<{widths[1]}}  ->  {new}"
        print(_printable(line.rstrip()))
    if secret and secret.store is StoreAction.CREATE:
        print(f"  The caller key is stored as the new workspace secret {secret.name}.")
    if secret and secret.store is StoreAction.UPDATE:
        users = f"{secret.users}{' or more' if secret.more_users else ''}"
        print(f"  The stored caller key differs and is replaced. Agents that use it: {users}.")


def _agreed(question: str = "Make this change?") -> bool:
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in {"y", "yes"}


def _store(workspace: Workspace, secret: Secret) -> str:
    """Return the id of the secret, once it holds the caller key."""
    if secret.id is None:
        return workspace.create_secret(secret.name)
    if secret.store is StoreAction.UPDATE:
        workspace.update_secret(secret.id, secret.name)
    return secret.id


def _printable(text: str) -> str:
    """Return the text on one line, without characters that control a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


if __name__ == "__main__":
    sys.exit(main())
