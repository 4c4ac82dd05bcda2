"""The options of the command line, and what is wrong with a choice, in its own words.

Each option is also an environment variable of the same name (`--upstream-key`, `UPSTREAM_KEY`),
which is how make's variables get here. Standard library only, so that `python -m local.options`
can refuse a mistake before anything is installed.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

CALLER_KEY = "local-caller-key"
MODEL, OPENAI = "model", "openai"
TOO_LONG = re.compile(r"/(chat/completions|responses|completions|models)/*$")
"""What clients add to a base URL by themselves, and people paste with it."""
_NAME = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*)=")
_NEXT = re.compile(r"\s+(?=[A-Za-z][A-Za-z0-9]*=)|\s*\Z")
_ARGUMENT = re.compile(r"argument --([a-z-]+): ")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse in one line that names the option as make does."""
        refuse(_ARGUMENT.sub(lambda found: f"{_variable(found[1])}: ", message))


def refuse(message: str) -> NoReturn:
    """End with one line that says what is wrong."""
    sys.exit(f"error: {message}")


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Return the options; `parameters` are a mapping. Ends the process if one is invalid."""
    parser = _Parser(prog="python -m local", description="The deployment on this machine.")
    parser.add_argument("command", nargs="?", choices=("run", "invoke"), default="run")
    parser.add_argument("event", nargs="?", type=Path, default=environ.get("EVENT") or None)
    given: list[str] = []

    def option(name: str, default: Any, explanation: str, **more: Any) -> None:
        parser.add_argument(f"--{name}", default=default, help=explanation, **more)
        # As a flag before the real ones, so that it is checked like them and they override it.
        if value := environ.get(_variable(name)):
            given.append(f"--{name}={value}")

    option("port", 8080, "port on 127.0.0.1; 0 takes any free one", type=_port)
    option("caller-key", CALLER_KEY, "the key that callers must show")
    option("upstream", MODEL, "model (embedded), openai (key: OPENAI_API_KEY) or a base URL")
    option("upstream-key", "", "the key for the upstream")
    option("fallback-key", "", "the key for the fallback (parameter FallbackBaseUrl)")
    option("transport", "lambda", "or uvicorn: without Lambda", choices=("lambda", "uvicorn"))
    option("code", "source", "or built: what make build made", choices=("source", "built"))
    option("limit", 10, "function processes at once", type=_limit)
    option("log-lines", "plain", "or json: unchanged", choices=("plain", "json"))
    option("secrets", {}, "what the template's further secrets hold, as JSON", type=_secrets)
    parser.add_argument(
        "--ends-with-stdin", action="store_true", help="end when stdin is closed, for programs"
    )
    option("parameters", {}, "template parameters, as in 'KeyTtlS=5'", type=_parameters)
    options = parser.parse_args([*given, *arguments])
    if options.command == "invoke" and options.event is None:
        refuse("no event file: make invoke EVENT=events/url-chat-stream.json")
    if wrong := wrong_upstream(options.upstream):
        refuse(wrong)
    if options.upstream == OPENAI:
        options.upstream_key = options.upstream_key or environ.get("OPENAI_API_KEY", "")
        if not options.upstream_key:
            refuse("UPSTREAM=openai needs the key in the variable OPENAI_API_KEY")
    if options.transport == "uvicorn" and (options.code == "built" or options.command == "invoke"):
        refuse("TRANSPORT=uvicorn serves the source tree and takes no events")
    return options


def wrong_upstream(upstream: str) -> str:
    """Return what is visibly wrong with UPSTREAM, or nothing."""
    if upstream in (MODEL, OPENAI):
        return ""
    try:
        parts = urlsplit(upstream)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", upstream):
        return (
            f"UPSTREAM={upstream} is neither model, openai nor a base URL such as "
            "http://127.0.0.1:11434/v1"
        )
    if pasted := TOO_LONG.search(parts.path):
        return (
            f"UPSTREAM must not include {pasted[0].rstrip('/')}, which is appended to it: "
            f"UPSTREAM={parts.scheme}://{parts.netloc}{parts.path[: pasted.start()]}"
        )
    return ""


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is not a port: use 1 to 65535, or 0 for any")
    return int(text)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= 1000):
        raise argparse.ArgumentTypeError(f"{text} is not a number of processes: use 1 to 1000")
    return int(text)


def _parameters(text: str) -> dict[str, str]:
    """Read `Name=value Name=value`; a value may hold blanks, and JSON may hold anything."""
    found, position = {}, 0
    text = text.strip()
    while position < len(text):
        name = _NAME.match(text, position)
        if name is None:
            raise argparse.ArgumentTypeError(
                f"expected Name=value, found {text[position:][:40].strip()}"
            )
        end = _end_of_value(text, name.end(), name[1])
        found[name[1]] = text[name.end() : end].strip("'")
        after = _NEXT.match(text, end)
        position = after.end() if after else end
    return found


def _secrets(text: str) -> dict[str, str]:
    """Read the values of secrets by logical id; one that is an object is what its JSON says."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError(
            """not a JSON object of secrets, as in SECRETS='{"ShopSecret": "its value"}'"""
        )
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }


def _end_of_value(text: str, start: int, name: str) -> int:
    if text[start : start + 1] in ("[", "{"):
        try:
            return json.JSONDecoder().raw_decode(text, start)[1]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{name} is not JSON; quote it for the shell: "
                """PARAMETERS='BufferWords=["One moment"]'"""
            ) from None
    if text[start : start + 1] == "'" and (end := text.find("'", start + 1)) > 0:
        return end + 1
    following = _NEXT.search(text, start)
    return following.start() if following else len(text)


if __name__ == "__main__":
    read(sys.argv[1:], os.environ)
