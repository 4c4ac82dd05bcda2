"""The caller key of a deployment, from a variable or the terminal, to play a platform.

Never an argument: a process list shows those.
"""

from __future__ import annotations

import getpass
import os
import sys


def caller_key(variable: str, command: str) -> str:
    """Return the key in `variable`, else ask for it; `command` is what sets the variable.

    Raises:
        ValueError: there is none that a header can carry.
    """
    key = os.environ.get(variable, "")
    if not key:
        if not sys.stdin.isatty():
            raise ValueError(f"no caller key: set {variable} ({command})")
        key = getpass.getpass("Caller key (not shown): ")
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("a caller key is printable ASCII, without spaces")
    return key
