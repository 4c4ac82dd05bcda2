"""Says what is wrong with the model behind `make run`, and which option fixes it.

Knows UPSTREAM, its keys and the parameters. Sends no requests.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

_BY_CODE = {
    "upstream_auth": "key",
    "upstream_402": "credit",
    "insufficient_quota": "credit",
    "model_not_found": "model",
    "upstream_404": "address",
    "upstream_405": "address",
}
"""The cause behind an error's code, where no log line names it."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The model API that UPSTREAM names."""

    name: str
    """As it was given: `model`, `openai` or a base URL."""
    model: str = ""
    """The model that was asked for, if known."""

    def wrong(self, candidate: str, cause: str, model: str = "") -> str:
        """Return what an API refuses for a cause from the log, and what helps.

        `model` is the one that was asked for, if known.
        """
        named = f"model {model}" if model else "model of that name"
        if candidate == "fallback":
            about = f"the {named}" if cause == "model" else cause
            return f"the fallback refuses ({about}): FALLBACK_KEY, FallbackBaseUrl, FallbackModel"
        where = f"UPSTREAM={self.name}"
        key = "OPENAI_API_KEY" if self.name == "openai" else "UPSTREAM_KEY"
        advice = {
            "key": f"{where} refuses the key: set {key}=...",
            "rights": f"{where}: the key is valid but may not use the {named}: grant it access "
            "at the provider",
            "credit": f"{where} accepts the key, but its account is empty or not active",
            "model": f"{where} has no {named}, or not for this key: "
            "name one that it has with PARAMETERS='UpstreamModel=...'",
            "address": self._wrong_address(),
        }
        return advice.get(cause, f"{where} refuses: {cause}")

    def failed(self, status: int, code: str, message: str) -> str:
        """Return why a first turn failed."""
        if code in _BY_CODE:
            return self.wrong("upstream", _BY_CODE[code], self.model)
        if code == "upstream_unavailable":
            host = urlsplit(self.name).netloc or self.name
            return f"UPSTREAM={self.name} cannot be reached: does a model API listen at {host}?"
        if code == "upstream_timeout":
            return f"UPSTREAM={self.name} did not answer in time: is the model still loading?"
        return f"UPSTREAM={self.name} failed with status {status}, {code}: {message}".rstrip(": ")

    def _wrong_address(self) -> str:
        parts = urlsplit(self.name)
        if parts.path.strip("/"):
            return (
                f"UPSTREAM={self.name} has no {parts.path.rstrip('/')}/chat/completions: UPSTREAM "
                "ends where /chat/completions begins, for most APIs in /v1"
            )
        base = f"{parts.scheme}://{parts.netloc}"
        return f"UPSTREAM={self.name} lacks its path, for most APIs /v1: UPSTREAM={base}/v1"
