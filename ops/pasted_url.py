"""A server's URL as people paste it, read into the address of its API.

The only reader of such URLs: the doctor and `make connect` mean the same server by the same text.
Knows what a URL looks like and which endpoints the API has; asks nobody whether a server is there.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

ENDPOINTS = ("/chat/completions", "/responses", "/models", "/health")
"""What clients put behind the base URL, and people paste along with it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server's API is."""

    tls: bool
    host: str
    port: int
    path: str
    """The base path, such as `/v1`, without a slash at its end."""

    @classmethod
    def parse(cls, pasted: str) -> Address:
        """Read a URL with or without scheme, `/v1`, slashes, query or an endpoint's path.

        Without a scheme, this machine is asked by http and any other host by https. An empty path
        becomes `/v1`. Any other path is kept, because whoever pastes one names the base: some
        model APIs live below `/v1beta/openai`, and the deployment answers below every prefix.

        Raises:
            ValueError: The text is no http or https URL, holds a user name, or is not ASCII.
        """
        text = pasted.strip()
        if "://" not in text:
            bare = urlsplit(f"//{text}").hostname or ""
            text = f"{'http' if _is_loopback(bare) else 'https'}://{text}"
        parts = urlsplit(text)
        if parts.username is not None:
            # Checked first: the other messages quote the URL, and this one may hold a password.
            raise ValueError("the URL holds a user name: the caller key is given apart from it")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{pasted!r} is no http:// or https:// URL")
        if not parts.netloc.isascii() or not parts.path.isascii() or " " in parts.path:
            raise ValueError(f"{pasted!r} must be ASCII, without spaces")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(tls, parts.hostname, port, _without_endpoint(parts.path) or "/v1")

    @property
    def authority(self) -> str:
        """Host and port; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def base_url(self) -> str:
        """What a platform calls the Server URL: it appends the endpoint's path to it."""
        return self.origin + self.path

    @property
    def is_loopback(self) -> bool:
        """True if this is the machine itself, where no platform can call."""
        return _is_loopback(self.host)


def _without_endpoint(path: str) -> str:
    path = path.rstrip("/")
    # More than one: people paste the endpoint behind a URL that has it already.
    while endpoint := next((one for one in ENDPOINTS if path.endswith(one)), ""):
        path = path.removesuffix(endpoint).rstrip("/")
    return path


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
