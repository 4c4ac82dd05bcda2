"""Keys for Amazon Bedrock that the function's role makes: no secret, nothing to rotate.

A short-term key is a presigned request in base64 ("Amazon Bedrock API keys" in the Bedrock user
guide; byte for byte what AWS's `aws-bedrock-token-generator` makes). It takes 50 µs and no call to
AWS, works only in its Region, and expires with the role's credentials. Both of Bedrock's hosts that
speak OpenAI's protocol accept it as a bearer key.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from completions.errors import KeyUnavailable
from completions.immutable import immutable
from completions.observability import count, log

TOKEN_LIFE_S = 900
"""The lifetime that the presigned request asks for; the role's session may end sooner."""
RENEW_AFTER_S = 300
"""When to replace a key that still works."""
_RETRY_AFTER_S = 5
"""A key younger than this was not refused for its age."""
_PREFIX = "bedrock-api-key-"
_HOST = re.compile(
    r"https?://(?:[\w-]+\.)?bedrock-(?:runtime(?:-fips)?|mantle)\.([a-z]{2}(?:-[a-z]+)+-\d)\."
    r"(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)(?::\d+)?(?:/|$)",
    re.IGNORECASE,
)


def region_of(base_url: str) -> str | None:
    """Return the Region of a Bedrock endpoint; None for any other host."""
    match = _HOST.match(base_url)
    return match.group(1).lower() if match else None


class Session(Protocol):
    """The part of botocore's session that is used here."""

    def get_credentials(self) -> Any:
        """Find the role's credentials, which renew themselves."""
        ...


def _session() -> Session:
    from botocore.session import Session as BotocoreSession

    session: Session = BotocoreSession()
    return session


def warm() -> None:
    """Load the code that makes a key, most of the first one's cost."""
    import botocore.auth
    import botocore.awsrequest
    import botocore.session  # noqa: F401


@immutable
class _Token:
    text: str
    access_key: str
    made_at: float


class RoleKeys:
    """Makes the keys of this environment's role, one for each Region. Safe to share."""

    def __init__(
        self,
        connect: Callable[[], Session] = _session,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        # NOTE: wall clock, because a frozen or restored environment must see that time has passed.
        self._clock = clock
        self._credentials: Any = None
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()
        self.finding: asyncio.Task[None] | None = None
        """The task that finds the credentials before the first key is made."""

    def prefetch(self) -> None:
        """Begin to find the role's credentials, most of the work for a first key."""
        if self._credentials is None and self.finding is None:
            self.finding = asyncio.create_task(asyncio.to_thread(self._find))
            self.finding.add_done_callback(self._found)

    def _find(self) -> None:
        with self._lock, suppress(Exception):  # A turn will meet and report it.
            self._credentials = self._credentials or self._connect().get_credentials()

    def _found(self, _: asyncio.Task[None]) -> None:
        self.finding = None

    async def key(self, region: str) -> str:
        """Return a key for Bedrock in `region`.

        Raises:
            KeyUnavailable: The environment has no credentials of a role.
        """
        token = self._tokens.get(region)
        if token is None or not 0 <= self._clock() - token.made_at < RENEW_AFTER_S:
            token = await self._make(region)
        return token.text

    async def newer_key(self, region: str, refused: str) -> str | None:
        """Return a key other than `refused`, or None if a new one would be refused as well."""
        token = self._tokens.get(region)
        if token is not None and token.text != refused:
            return token.text
        newer = await self._make(region)
        if token is None or newer.access_key != token.access_key:
            return newer.text
        return newer.text if newer.made_at - token.made_at >= _RETRY_AFTER_S else None

    def forget(self) -> None:
        """Drop everything: after a restore from a snapshot the role has other credentials."""
        self._credentials = None
        self._tokens.clear()

    async def _make(self, region: str) -> _Token:
        # In a thread: the credentials may have to be fetched from the container's endpoint.
        try:
            token = await asyncio.to_thread(self._sign, region)
        except Exception as error:
            count("KeyFailures")
            log.error(
                "key.unavailable",
                secret="the role's credentials",  # noqa: S106 - a name
                reason=type(error).__name__,
                hint="Bedrock's keys are made of the role's credentials, and there are none. "
                "Outside AWS, store a Bedrock API key as the upstream's key",
            )
            raise KeyUnavailable(
                "No key for Amazon Bedrock can be made: there are no credentials of a role. "
                "The operator finds the reason in the log, event key.unavailable."
            ) from error
        self._tokens[region] = token
        return token

    def _sign(self, region: str) -> _Token:
        from botocore.auth import SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError

        with self._lock:
            self._credentials = self._credentials or self._connect().get_credentials()
            if self._credentials is None:
                raise NoCredentialsError
            credentials = self._credentials.get_frozen_credentials()
        request = AWSRequest(
            "POST",
            "https://bedrock.amazonaws.com/",
            headers={"host": "bedrock.amazonaws.com"},
            params={"Action": "CallWithBearerToken"},
        )
        made_at = self._clock()
        SigV4QueryAuth(credentials, "bedrock", region, expires=TOKEN_LIFE_S).add_auth(request)
        signed = f"{request.url.removeprefix('https://')}&Version=1"
        return _Token(
            _PREFIX + b64encode(signed.encode()).decode(), credentials.access_key, made_at
        )
