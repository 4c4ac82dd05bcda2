"""Known providers: which refusals a first request to them avoids."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import from_json

from completions.dialects.dialect import Prepared
from completions.quirks.known_providers import LINES, facts_of
from completions.quirks.lessons import Lesson
from completions.quirks.quirks import Quirks
from completions.quirks.shapes import SHAPES
from completions.settings import Candidate

ROWS = [from_json(line) for line in LINES.read_bytes().splitlines()]


def named(model: str, host: str = "gateway.example") -> Candidate:
    """Return a candidate with this model at this host."""
    return Candidate("upstream", f"https://{host}/v1", model)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str([row.get("hosts"), row.get("models")]))
def test_each_line_names_its_models_and_its_source(row: dict[str, Any]) -> None:
    """It names hosts or models, a source, and only shapes that exist."""
    assert row.keys() <= {"hosts", "models", "dropped", "renamed", "mended", "source"}
    assert row.keys() & {"hosts", "models"}
    assert row["source"]
    assert {*row.get("mended", ())} <= {shape.name for shape in SHAPES}


@pytest.mark.parametrize(
    ("model", "host", "dropped"),
    [
        ("gpt-5-mini", "api.openai.com", "temperature"),
        ("openai/o3-mini", "openrouter.ai", "temperature"),
        ("mistral-small-latest", "gateway.example", "prompt_cache_key"),
        ("any", "api.mistral.ai", "stream_options"),
        ("any", "europe-west4-aiplatform.googleapis.com", "prompt_cache_key"),
        ("any", "inference.baseten.co", "prompt_cache_key"),
    ],
)
def test_a_provider_is_known_by_its_host_or_else_its_model(
    model: str, host: str, dropped: str
) -> None:
    """Gateways put the vendor's name before the model's."""
    assert dropped in facts_of(named(model, host)).dropped


def test_a_host_counts_more_than_a_model() -> None:
    """The server decides what it takes, whatever the model is called."""
    assert facts_of(named("gemini-3-flash", "api.groq.com")).shapes == {"developer", "parts"}


def test_a_line_may_be_about_some_models_of_a_host() -> None:
    """Only Gemini 3 is strict about the signatures of its calls."""
    for host in ("generativelanguage.googleapis.com", "gateway.example"):
        assert "signature" in facts_of(named("google/gemini-3-flash-preview", host)).shapes
        assert "signature" not in facts_of(named("gemini-2.5-flash", host)).shapes


@pytest.mark.parametrize(
    "model", ["gpt-4.1-mini", "gpt-5-chat-latest", "gpt-5.1", "o", "llama-3.3-70b", "", "oh-1"]
)
def test_a_model_that_takes_a_temperature_keeps_it(model: str) -> None:
    """Names that only look similar do not match."""
    assert "temperature" not in facts_of(named(model)).dropped


def test_an_unknown_server_is_sent_everything() -> None:
    """This includes a server whose name only ends like a known one's."""
    for host in ("127.0.0.1:8000", "my-api.groq.com", "api.mistral.ai.example"):
        assert facts_of(named("m", host)) == Lesson()


def test_the_deployments_extra_fields_win() -> None:
    """A fact about a provider does not override them, but a refusal does."""
    quirks, model = Quirks(), named("gpt-5-mini")
    own = Candidate("upstream", model.base_url, model.model, {"temperature": 1})
    sent = Prepared({"temperature": 1, "top_p": 1})
    assert quirks.applied(own, sent).body == {"temperature": 1}
    quirks.remember(own, Lesson(frozenset({"temperature"})))
    assert quirks.applied(own, sent).body == {}
