"""The account that a trial runs in: its number, its Region, and its clients.

boto3 comes with the SAM CLI, so credentials that work for `sam deploy` work here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
)

from ops.command_problem import Problem, usage

ERRORS = (BotoCoreError, ClientError)


@dataclass(frozen=True, slots=True)
class Account:
    """The account and Region of a trial. `endpoint`, if given, stands for all of AWS."""

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
        """Return the variables that point `sam` to this account."""
        here = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {**here, **({"AWS_ENDPOINT_URL": self.endpoint} if self.endpoint else {})}


def current_account(region: str, endpoint: str) -> Account:
    """Return the account of the current credentials.

    Raises:
        Problem: There is no Region, none that can be reached, or no credentials that work.
    """
    region = region or boto3.Session().region_name or ""
    if not region:
        raise Problem("In which Region? make trial REGION=eu-central-1, or configure one.")
    unknown = Account(region, "", "", endpoint)
    try:
        identity = unknown.client("sts").get_caller_identity()
    except (EndpointConnectionError, InvalidRegionError) as error:
        raise Problem(
            f"AWS cannot be reached in the Region {region}: does it exist, and is there a network? "
            f"{error}"
        ) from error
    except ValueError as error:
        raise usage(f"TRIAL_ENDPOINT is no http:// or https:// URL: {error}") from error
    except ERRORS as error:
        raise Problem(f"There are no AWS credentials that work: {error}") from error
    return Account(region, identity["Account"], identity["Arn"], endpoint)


def is_missing(error: ClientError) -> bool:
    """Return True if the error means that something does not exist."""
    details = error.response.get("Error", {})
    code, message = str(details.get("Code")), str(details.get("Message"))
    return (
        "NoSuch" in code
        or code in {"404", "ResourceNotFoundException"}
        or (code == "ValidationError" and "does not exist" in message)
    )
