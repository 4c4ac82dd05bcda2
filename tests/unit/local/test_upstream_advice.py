"""Problems with the model, in the words of `make run`."""

import pytest

from local.upstream_advice import Upstream

URL = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("upstream", "cause", "told"),
    [
        (URL, "key", f"UPSTREAM={URL} refuses the key: set UPSTREAM_KEY="),
        ("openai", "key", "UPSTREAM=openai refuses the key: set OPENAI_API_KEY="),
        (URL, "credit", "its account is empty"),
        (URL, "model", "PARAMETERS='UpstreamModel=...'"),
        (URL, "address", f"UPSTREAM={URL} has no /v1/chat/completions"),
        ("http://a:1", "address", "lacks its path, for most APIs /v1: UPSTREAM=http://a:1/v1"),
        ("http://a:1/", "address", "lacks its path, for most APIs /v1: UPSTREAM=http://a:1/v1"),
        (URL, "filter", "refuses: filter"),
    ],
)
def test_each_cause_has_its_local_advice(upstream: str, cause: str, told: str) -> None:
    """The advice names no parameter of a stack and no command that needs AWS."""
    said = Upstream(upstream).wrong("upstream", cause)
    assert told in said
    assert "make upstream-key" not in said


def test_the_fallback_has_its_own_variables() -> None:
    """The fallback's advice names the fallback's variables, not UPSTREAM."""
    said = Upstream(URL).wrong("fallback", "key")
    assert "FALLBACK_KEY" in said
    assert "UPSTREAM" not in said


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("upstream_auth", "UPSTREAM_KEY"),
        ("insufficient_quota", "account"),
        ("upstream_404", "/chat/completions"),
        ("model_not_found", "has no model some-model, or not for this key"),
        ("upstream_unavailable", "does a model API listen at 127.0.0.1:9?"),
        ("upstream_timeout", "still loading?"),
        ("odd", "status 500, odd: No."),
    ],
)
def test_a_first_turn_that_failed(code: str, told: str) -> None:
    """A known error code gets its advice, and an unknown error is shown as it is."""
    assert told in Upstream(URL, "some-model").failed(500, code, "No.")
