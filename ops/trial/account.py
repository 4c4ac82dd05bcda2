"""The account that a trial runs in: whose it is, in which Region, and the clients that ask it.

boto3 comes with the SAM CLI, so credentials that work for `sam deploy` work here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ops.command_problem import Problem

ERRORS = (BotoCoreError, ClientError)


@dataclass(frozen=True, slots=True)
class Account:
    """Where everything happens. `endpoint` stands for all of AWS, where it is given."""

    region: str
    number: str
    caller: str
    endpoint: str = ""

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        return boto3.client(
            service,
            region_name=self.region,
            **({"endpoint_url": self.endpoint} if self.endpoint else {}),
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that bring `sam` here."""
        here = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {**here, **({"AWS_ENDPOINT_URL": self.endpoint} if self.endpoint else {})}


def entered(region: str, endpoint: str) -> Account:
    """Return the account of the credentials at hand.

    Raises:
        Problem: there is no Region, or no credentials that work.
    """
    region = region or boto3.Session().region_name or ""
    if not region:
        raise Problem("In which Region? make trial REGION=eu-central-1, or configure one.")
    unknown = Account(region, "", "", endpoint)
    try:
        told = unknown.client("sts").get_caller_identity()
    except ERRORS as error:
        raise Problem(f"There are no AWS credentials that work: {error}") from error
    return Account(region, told["Account"], told["Arn"], endpoint)


def is_missing(error: ClientError) -> bool:
    """Return True if the error says that what was asked for is not there."""
    told = error.response.get("Error", {})
    code, message = str(told.get("Code")), str(told.get("Message"))
    return (
        "NoSuch" in code
        or code in {"404", "ResourceNotFoundException"}
        or (code == "ValidationError" and "does not exist" in message)
    )
