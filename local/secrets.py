"""Secrets Manager on this machine: moto's server in a separate process.

The template says which secrets exist; their values come from the caller or, for generated ones,
are made up here. Does not know who reads them.
"""

import asyncio
import json
import secrets
import string
import urllib.request
from collections.abc import Iterable, Mapping
from typing import IO, Any

from local.intrinsics import REGION
from local.service import Service, announce
from local.template import Secret

PASSWORD_LENGTH = 32  # GenerateSecretString's default


async def start(log: IO[str]) -> Service:
    """Start an empty Secrets Manager; its address is the endpoint URL for boto3."""
    return await Service.start("Secrets Manager", "-m", "local.secrets", log=log)


async def create(
    endpoint: str, declared: Iterable[Secret], values: Mapping[str, Mapping[str, str] | str]
) -> None:
    """Create the template's secrets.

    `values` holds, by logical id, a text or JSON fields that replace the template's value. Other
    secrets get the template's value, a generated one, or, as on AWS, none at all.
    """
    for secret in declared:
        fields = {"Name": secret.name, "ClientRequestToken": secrets.token_hex(16)}
        value = _value(secret, values.get(secret.logical_id))
        if value is not None:
            fields["SecretString"] = value
        await asyncio.to_thread(_call, endpoint, "CreateSecret", fields)


def _value(secret: Secret, given: Mapping[str, str] | str | None) -> str | None:
    if given is not None:
        return given if isinstance(given, str) else json.dumps(given)
    if secret.generate is None:
        return secret.value
    length = int(secret.generate.get("PasswordLength", PASSWORD_LENGTH))
    alphabet = string.ascii_letters + string.digits
    password = "".join(secrets.choice(alphabet) for _ in range(length))
    if "GenerateStringKey" not in secret.generate:
        return password
    fields = json.loads(secret.generate.get("SecretStringTemplate", "{}"))
    return json.dumps({**fields, secret.generate["GenerateStringKey"]: password})


def _call(endpoint: str, operation: str, fields: Mapping[str, Any]) -> None:
    """Call one operation over plain HTTP, so that the parent need not import boto3."""
    request = urllib.request.Request(  # noqa: S310 - our own http address
        endpoint,
        data=json.dumps(fields).encode(),
        headers={
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"secretsmanager.{operation}",
            # moto reads account and region from it, and does not check the signature.
            "authorization": f"AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}"
            "/secretsmanager/aws4_request, SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
        response.read()


def main() -> None:
    """Be the child: serve moto's Secrets Manager until the parent ends."""
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), True)
    announce(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
