"""One real turn against a server, with errors as a status, which callers never hear.

In a call whatever goes wrong becomes words. So the commands that set something up end with a turn
that names the cause: a key that the model API refuses, an empty account, an unknown model.
"""

from __future__ import annotations

import json
import os

from ops.doctor import diagnosis
from ops.doctor.causes import CAUSES
from ops.doctor.wire import exchange
from ops.pasted_url import Address

TIMEOUT_S = 20.0
"""A cold start and `TurnBudgetMs`, with some seconds to spare."""
USUAL_MODEL = "gpt-4.1-mini"


def play_and_print(url: str, key: str, model: str = "") -> None:
    """Play the turn, and print whether a model answers, or else why not and what helps.

    `REAL_TURN=0` in the environment plays none.
    """
    if os.environ.get("REAL_TURN", "").strip() in {"0", "no"}:
        return
    print("Trying a turn ... ", end="", flush=True)
    print(outcome(url, key, model))


def outcome(url: str, key: str, model: str = "") -> str:
    """Return `answered`, or the cause and the remedy, for the person who set the server up."""
    address = Address.parse(url)
    body = {
        "model": model or USUAL_MODEL,
        "messages": [{"role": "user", "content": "Say yes."}],
        "max_tokens": 16,
    }
    came = exchange(
        address,
        "POST",
        f"{address.path}/chat/completions",
        headers={
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "x-completions-on-failure": "error",
        },
        body=json.dumps(body).encode(),
        timeout_s=TIMEOUT_S,
    )
    trouble = diagnosis.of_exchange(came)
    # Asked in one piece, an answer is JSON.
    if trouble is None or (came.status == 200 and trouble.cause == "wrong_type"):
        return "answered."
    cause = CAUSES[trouble.cause]
    detail = "".join(each if each.isprintable() else " " for each in trouble.detail)
    return f"it failed.\n  {detail}\n  {cause.why}\n  {cause.remedy}"
