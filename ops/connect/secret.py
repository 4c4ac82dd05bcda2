"""The workspace secret that holds the caller key: its name, and whether it is the current one.

The platform never shows a secret's value, so the name carries a fingerprint of it. One secret
serves one server: when the key is rotated, the secret is changed in place, and every agent that
uses it follows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit


class StoreAction(Enum):
    """What to do to a workspace's secrets."""

    NOTHING = "nothing"
    CREATE = "create"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret that the agent will use, and how to store it."""

    name: str
    id: str | None  # none before it is created
    store: StoreAction
    users: int = 0  # agents that use it already
    more_users: bool = False  # the platform listed only some of them


def choose_secret(url: str, key: str, stored: Iterable[dict[str, Any]]) -> Secret:
    """Return the secret for the server at `url`, among those that the workspace has."""
    prefix = f"voice-completions-{_slug(url)}-"
    name = prefix + _fingerprint(key, salt=prefix)
    ours = [one for one in stored if re.fullmatch(re.escape(prefix) + "[0-9a-f]{12}", one["name"])]
    # The current one if there are several, else the first by name, so that each run takes the same.
    ours.sort(key=lambda one: (one["name"] != name, one["name"], one["secret_id"]))
    if not ours:
        return Secret(name, None, StoreAction.CREATE)
    found, used_by = ours[0], ours[0].get("used_by") or {}
    return Secret(
        name,
        found["secret_id"],
        StoreAction.NOTHING if found["name"] == name else StoreAction.UPDATE,
        len(used_by.get("agents") or ()),
        bool(used_by.get("agents_has_more")),
    )


def _slug(url: str) -> str:
    """Return the server's name and port, in characters that any secret's name may have."""
    return re.sub(r"[^a-z0-9]+", "-", urlsplit(url).netloc.lower()).strip("-")


def _fingerprint(key: str, *, salt: str) -> str:
    """Return twelve hex digits that tell keys apart and make guessing a weak key slow."""
    return hashlib.scrypt(key.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=6).hex()
