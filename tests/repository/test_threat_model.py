"""Every promise of the threat model has a test."""

import re
from pathlib import Path

from completions.tools.held_calls import ARGUMENTS_LIMIT_CHARS
from completions.tools.loose_json import LIMIT_CHARS
from completions.upstream import refusals
from completions.upstream.limits import ANSWER_LIMIT_BYTES, EVENTS_LIMIT

ROOT = Path(__file__).resolve().parents[2]
MODEL = (ROOT / "docs/threat-model.md").read_text()
NAME = re.compile(r"`(test_\w+)`")


def _tests(files: str) -> set[str]:
    sources = [path.read_text() for path in (ROOT / "tests").rglob(files)]
    return {
        name
        for text in sources
        for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)
    }


def test_each_claim_names_tests_that_exist() -> None:
    """Every row of the threat model's tables ends in names of existing tests."""
    rows = [line for line in MODEL.splitlines() if line.startswith("| ")]
    claims = [row for row in rows if not row.endswith("| test |")]
    assert len(claims) > 20
    for claim in claims:
        assert NAME.search(claim.split(" | ")[-1]), claim
    assert set(NAME.findall(MODEL)) <= _tests("test_*.py")


def test_each_test_of_security_holds_a_claim() -> None:
    """The threat model names every test about security."""
    assert _tests("test_security*.py") <= set(NAME.findall(MODEL))


def test_the_figures_are_those_of_the_code() -> None:
    """The threat model's limits are the function's."""
    for figure in (
        f"{ANSWER_LIMIT_BYTES >> 20} MB or {EVENTS_LIMIT:,} events",
        f"arguments after {ARGUMENTS_LIMIT_CHARS >> 10} KB",
        f"an error after {refusals.REFUSAL_LIMIT_BYTES >> 10} KB",
        f"repair at most {LIMIT_CHARS >> 10} KB",
    ):
        assert figure in MODEL
