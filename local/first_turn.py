"""Plays a first turn after `make run`, to see whether the model behind it answers.

In a call every failure becomes words, so only the log would show a wrong key, URL or model. This
turn asks for errors as a status.

`python -m local.first_turn BASE_URL MODEL` plays it, if somebody watches, for a program that has
started the deployment with its own model in front of UPSTREAM; the key is CALLER_KEY.
"""

import http.client
import json
import os
import sys
from urllib.parse import urlsplit

from local.upstream_advice import Upstream

TIMEOUT_S = 20.0


def is_watched() -> bool:
    """Return whether to play a first turn: an unrequested one could appear on somebody's bill."""
    choice = os.environ.get("REAL_TURN", "").strip().lower()
    return choice not in ("0", "no") if choice else sys.stderr.isatty()


def trouble(base_url: str, caller_key: str, upstream: Upstream) -> str:
    """Play the turn; return what is wrong and what helps, or nothing if it was answered."""
    url = urlsplit(base_url)
    messages = [{"role": "user", "content": "Say yes."}]
    body = {"model": upstream.model, "messages": messages, "max_tokens": 16}
    headers = {
        "authorization": f"Bearer {caller_key}",
        "content-type": "application/json",
        "x-completions-on-failure": "error",
    }
    connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"{url.path}/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        status, answer = response.status, response.read()
    except TimeoutError:
        return upstream.failed(0, "upstream_timeout", "")
    except (OSError, http.client.HTTPException) as error:
        return f"the first turn failed: {type(error).__name__}"
    finally:
        connection.close()
    if status == 200:
        return ""
    try:
        details = json.loads(answer)["error"]
        code, message = str(details["code"]), str(details["message"])
    except (ValueError, LookupError, TypeError):
        code, message = "", ""
    printable = "".join(each if each.isprintable() else " " for each in message[:300])
    return upstream.failed(status, code, printable)


def outcome(wrong: str) -> str:
    """Return what to print about the turn."""
    if not wrong:
        return "the model answers"
    return f"the model does not answer: {wrong}\ncallers will hear an apology until this is fixed"


def main() -> None:
    """Play it for another program."""
    if not is_watched():
        return
    print("trying the model", file=sys.stderr, flush=True)
    _, base_url, model = sys.argv
    upstream = Upstream(os.environ["UPSTREAM"], model)
    print(outcome(trouble(base_url, os.environ["CALLER_KEY"], upstream)), file=sys.stderr)


if __name__ == "__main__":
    main()
