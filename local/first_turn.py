"""The first turn of `make run`, played by itself: does the model behind it answer?

In a call every failure becomes words, so a wrong key, URL or model would be told in the log alone.
This turn asks for errors as a status, and tells it in the words of this command line.
"""

import http.client
import json
import sys
import threading
from urllib.parse import urlsplit

TIMEOUT_S = 20.0
_REMEDIES = {
    "upstream_auth": "UPSTREAM_KEY=... is the key for UPSTREAM; for UPSTREAM=openai it is the "
    "variable OPENAI_API_KEY.",
    "upstream_unavailable": "Does a model API listen at UPSTREAM=...? For most it ends in /v1.",
    "upstream_timeout": "The model took too long: is it still loading?",
    "model_not_found": "PARAMETERS='UpstreamModel=...' names one that the model API has.",
    "upstream_404": "UPSTREAM=... ends where /chat/completions begins, for most in /v1.",
    "upstream_402": "The account behind the key is empty.",
    "insufficient_quota": "The account behind the key is empty.",
}


def begin(base_url: str, caller_key: str, model: str) -> None:
    """Play the turn in the background, and print what came of it."""

    def play() -> None:
        print(outcome(base_url, caller_key, model), file=sys.stderr, flush=True)

    # A daemon: Ctrl-C waits for no model.
    threading.Thread(target=play, daemon=True).start()


def outcome(base_url: str, caller_key: str, model: str) -> str:
    """Return in a line whether a turn was answered, or why not and what helps."""
    url = urlsplit(base_url)
    body = {"model": model, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 16}
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
    except (OSError, http.client.HTTPException) as error:
        return f"a first turn failed: {type(error).__name__}"
    finally:
        connection.close()
    if status == 200:
        return "a first turn was answered: the model is there"
    try:
        said = json.loads(answer)["error"]
        code, message = str(said["code"]), str(said["message"])
    except (ValueError, LookupError, TypeError):
        code, message = "", ""
    told = "".join(each if each.isprintable() else " " for each in f"{code}: {message}"[:300])
    return f"a first turn failed: {status} {told} {_REMEDIES.get(code, '')}".rstrip()
