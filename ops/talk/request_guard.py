"""Let only the page that the server serves ask it.

Any web page can send requests to a port of this machine, and other names can be made to point at
127.0.0.1 (DNS rebinding). So a request must know the token in the page's address, name this machine
in `Host`, and come from the page itself by `Sec-Fetch-Site` (W3C, Fetch Metadata), which pages
cannot forge. Does not know what is asked.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Sent with every answer: nothing from another host, no inline script, no frame, no referrer."""


class RequestGuard:
    """The token of one run, and the rules."""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(24)

    def address(self, port: int) -> str:
        """Return the page's address, the only place that has the token."""
        return f"http://127.0.0.1:{port}/{self._token}/"

    def admits(
        self, method: str, path: str, headers: Mapping[str, str], port: int
    ) -> tuple[str | None, str]:
        """Return the path after the token, or None and why the request is refused.

        Header names are in lower case.
        """
        if headers.get("host", "") not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
            return None, "this host is not served"
        token, _, inner = path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return None, "the address lacks the token that was printed"
        site = headers.get("sec-fetch-site")
        if method == "GET":
            # A typed or pasted address sends `none`, browsers before 2023 nothing.
            if site not in {None, "none", "same-origin"}:
                return None, "another site may not ask"
        elif site != "same-origin":
            return None, "only the page itself may ask"
        elif headers.get("content-type") != "application/json":
            # Another site's form cannot send this type without a preflight.
            return None, "the body must be application/json"
        return inner, ""
