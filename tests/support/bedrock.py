"""Amazon Bedrock's keys: credentials of a role, and a check of the keys made from them.

The check decodes a key and signs its request again, by hand and with botocore, as the service
would.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

BASE_URL = "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1"
PREFIX = "bedrock-api-key-"


class Role:
    """A role's credentials, and their session; `rotate` makes new ones and voids the old."""

    def __init__(self) -> None:
        self.generation = 0
        self.connects = 0
        self.none = False

    def rotate(self) -> None:
        """Replace the credentials, as the container's endpoint does early, and a restore."""
        self.generation += 1

    @property
    def frozen(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(
            f"ASIA{self.generation:016}", f"secret-{self.generation}", f"token/{self.generation}+="
        )

    def connect(self) -> Role:
        self.connects += 1
        return self

    def get_credentials(self) -> Any:
        return None if self.none else self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return self.frozen


def verdict(key: str, frozen: ReadOnlyCredentials, region: str, now: float) -> str:
    """Return why the service would refuse this key, or an empty text. Source: AWS's SigV4 pages."""
    if not key.startswith(PREFIX):
        return "not a Bedrock key"
    text = base64.b64decode(key.removeprefix(PREFIX), validate=True).decode()
    host, _, query = text.partition("/?")
    fields = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    if host != "bedrock.amazonaws.com" or fields.get("Action") != "CallWithBearerToken":
        return "another request"
    if fields.pop("Version") != "1":
        return "another version"
    signature = fields.pop("X-Amz-Signature")
    access_key, date, scope_region, service, _ = fields["X-Amz-Credential"].split("/")
    if (scope_region, service) != (region, "bedrock"):
        return "another Region"
    if (access_key, fields.get("X-Amz-Security-Token")) != (
        frozen.access_key,
        frozen.token,
    ):
        return "other credentials"
    made = datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if not made.timestamp() <= now + 1 <= made.timestamp() + int(fields["X-Amz-Expires"]) + 1:
        return "expired"
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in fields.items())
    canonical = "\n".join(
        (
            *("POST", "/", "&".join(f"{k}={v}" for k, v in pairs), f"host:{host}", "", "host"),
            hashlib.sha256(b"").hexdigest(),
        )
    )
    to_sign = "\n".join(
        (
            *("AWS4-HMAC-SHA256", fields["X-Amz-Date"], f"{date}/{region}/bedrock/aws4_request"),
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    signing = f"AWS4{frozen.secret_key}".encode()
    for part in (date, region, "bedrock", "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    by_hand = hmac.digest(signing, to_sign.encode(), "sha256").hex()
    both = {by_hand, _by_botocore(fields, frozen, region)}
    return "" if both == {signature} else "another signature"


def _by_botocore(fields: dict[str, str], frozen: ReadOnlyCredentials, region: str) -> str:
    """Return botocore's signature of the presigned request whose query is `fields`."""
    auth = SigV4QueryAuth(frozen, "bedrock", region)
    headers = {"host": "bedrock.amazonaws.com"}
    request = AWSRequest("POST", "https://bedrock.amazonaws.com/", headers=headers, params=fields)
    request.context["timestamp"] = fields["X-Amz-Date"]
    signature: str = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    return signature
