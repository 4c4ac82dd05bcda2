"""A turn of an agent in the built package: a missing module fails, other errors are reported."""

from __future__ import annotations

import pytest

from local.agent_turn import verdict

TRACE = "Traceback (most recent call last):\n  File x, line 1, in answer\n"


@pytest.mark.parametrize(
    "raised",
    [
        "ModuleNotFoundError: No module named 'pydantic.v1'",
        "ImportError: cannot import name 'FineTuning' from 'openai.types'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/var/task/some/data.json'",
        "botocore.exceptions.UnknownServiceError: Unknown service: 'dynamodb'. Valid are: …",
        "importlib.metadata.PackageNotFoundError: No package metadata was found for x",
        "COMPLETIONS_RESPONDER='a:b': module 'a' cannot be imported: ModuleNotFoundError: No x.",
    ],
)
def test_a_missing_module_fails_and_is_named(raised: str) -> None:
    """A missing module fails, whether Python, botocore, a framework or the start reports it."""
    status, told = verdict("a:b", TRACE + raised)
    assert status == 1
    assert raised[raised.index("Error:") :] in told
    assert "pyproject.toml" in told


def test_a_missing_module_is_found_in_a_frameworks_error() -> None:
    """The name is searched in the whole trace, since the last line may be another error's."""
    raised = f"{TRACE}ModuleNotFoundError: No module named 'x'\n\nDuring …\n\nValueError: bad"
    assert verdict("a:b", raised)[0] == 1


def test_another_error_is_reported_and_fails_nothing() -> None:
    """Another error is only reported, since an owner's API may be unreachable during a build."""
    status, told = verdict("a:b", TRACE + "ConnectionError: shop.invalid")
    assert status == 0
    assert "nothing is missing" in told
    assert "shop.invalid" in told


def test_an_agent_that_answers_is_reported() -> None:
    """One line reports that the agent answers."""
    assert verdict("a:b", "") == (0, "a turn of a:b in the package: it answers")
