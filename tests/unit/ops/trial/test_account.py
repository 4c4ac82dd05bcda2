"""The account that a trial runs in, and the errors if there is none."""

from __future__ import annotations

import boto3
import pytest

from ops.command_problem import Problem
from ops.trial.account import current_account

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set well-formed credentials, and allow one attempt."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.parametrize(("region", "endpoint"), [("eu central", ""), ("eu-nowhere-9", NOWHERE)])
def test_a_malformed_region_is_not_blamed_on_the_credentials(region: str, endpoint: str) -> None:
    """A malformed or unknown region is reported, and the credentials are not blamed."""
    with pytest.raises(Problem, match=f"in the Region {region}") as caught:
        current_account(region, endpoint)
    assert "credentials" not in str(caught.value)


def test_a_malformed_endpoint_is_a_usage_error() -> None:
    """A malformed endpoint is a usage error that names the setting."""
    with pytest.raises(Problem, match="TRIAL_ENDPOINT") as caught:
        current_account("eu-central-1", "nonsense")
    assert caught.value.status == 2


def test_credentials_that_are_missing_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing credentials are reported before anything is created."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Problem, match="no AWS credentials"):
        current_account("eu-central-1", NOWHERE)
