"""TLS without the public authorities, which no test needs: loading them takes 18 ms per client.

Certificates that a test names are loaded as usual.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

load_verify_locations = ssl.SSLContext.load_verify_locations
_OF_THE_MACHINE = {*ssl.get_default_verify_paths()} | {
    os.environ.get("SSL_CERT_FILE"),
    os.environ.get("SSL_CERT_DIR"),
}


def _load_what_is_ours(
    self: ssl.SSLContext, cafile: Any = None, capath: Any = None, cadata: Any = None
) -> None:
    if cadata is not None or (cafile or capath) not in _OF_THE_MACHINE:
        load_verify_locations(self, cafile, capath, cadata)


def leave_out_the_worlds_authorities() -> None:
    """Trust no authority by default in this process."""
    ssl.SSLContext.load_verify_locations = _load_what_is_ours  # type: ignore[method-assign]
