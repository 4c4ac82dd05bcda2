"""What Lambda would refuse for its variables' length, said before it is asked."""

import json
from bisect import bisect_left
from pathlib import Path

import pytest

from local.variables import LIMIT_BYTES, complaint, measured

TEMPLATE = Path(__file__).resolve().parents[3] / "template.yaml"
WORDS = json.dumps(["One moment, please"] * 150)


def test_the_defaults_leave_room() -> None:
    """Nobody who changes nothing meets the limit."""
    assert complaint(TEMPLATE, {}, "voice-completions") == ""


def test_what_is_too_long_is_named_as_its_parameter() -> None:
    """The longest comes first, under the name that stands in samconfig.toml."""
    found = complaint(TEMPLATE, {"BufferWords": WORDS}, "voice-completions")
    assert "The longest: BufferWords 3," in found
    assert f"Lambda allows {LIMIT_BYTES:,}" in found


def test_names_values_and_escapes_count() -> None:
    """Lambda measures the JSON, so a quotation mark is two bytes and an umlaut is two as well."""
    assert measured({"A": '"'}) == len(b'{"A":"\\""}')
    assert measured({"A": "ä"}) == len('{"A":"ä"}'.encode())


def test_what_only_the_stack_tells_counts_too() -> None:
    """The stack's name is a variable, and its secrets' ARNs are longer than here."""
    # Each look reads the whole template.
    free = bisect_left(
        range(1, 3500),
        True,
        key=lambda room: bool(complaint(TEMPLATE, {"UpstreamModel": "m" * room}, "s")),
    )
    fits = {"UpstreamModel": "m" * free}
    assert complaint(TEMPLATE, fits, "s") == ""
    assert complaint(TEMPLATE, fits, "a-longer-name") != ""


@pytest.mark.parametrize("extra", ["UpstreamExtraBody", "FallbackExtraBody"])
def test_an_extra_body_may_be_long_but_not_too_long(extra: str) -> None:
    """A few fields fit, a whole prompt does not."""
    small, large = (json.dumps({"prompt": "x" * size}) for size in (1000, 4000))
    assert complaint(TEMPLATE, {extra: small}, "voice-completions") == ""
    assert extra in complaint(TEMPLATE, {extra: large}, "voice-completions")
