"""Whose account a trial runs in, and what is said where none can be reached."""

from __future__ import annotations

import boto3
import pytest

from ops.command_problem import Problem
from ops.trial.account import entered

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some that look right, and one attempt."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.parametrize(("region", "endpoint"), [("eu central", ""), ("eu-nowhere-9", NOWHERE)])
def test_a_region_that_is_none_is_not_said_of_the_credentials(region: str, endpoint: str) -> None:
    """Botocore refuses its form, or its host is not there; the credentials were never judged."""
    with pytest.raises(Problem, match=f"in the Region {region}") as caught:
        entered(region, endpoint)
    assert "credentials" not in str(caught.value)


def test_an_endpoint_that_is_none_is_a_wrong_call() -> None:
    """The setting is named, and nothing was touched."""
    with pytest.raises(Problem, match="TRIAL_ENDPOINT") as caught:
        entered("eu-central-1", "nonsense")
    assert caught.value.status == 2


def test_credentials_that_are_missing_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked for before anything is made."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Problem, match="no AWS credentials"):
        entered("eu-central-1", NOWHERE)
