"""What providers are known to refuse, so that a first turn is not spent on learning it.

`known_providers.jsonl` has a line for each: facts that its vendor documents, or that others have
verified, and only remedies that do no harm where they are wrong. A line names hosts or models:

    hosts, models   patterns (`*` stands for anything); a host's line comes first
    dropped         fields to leave out, as paths (see `field_paths`)
    renamed         fields to send under another name
    mended          shapes to mend, as named in `dialects.shapes`
    source          where it stands

Knows names; nothing of what was learnt here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json

from completions.race.lessons import Lesson
from completions.settings import Candidate

LINES = Path(__file__).with_suffix(".jsonl")


@dataclass(frozen=True, slots=True)
class _Provider:
    hosts: tuple[str, ...]
    models: tuple[str, ...]
    lesson: Lesson


def facts_of(candidate: Candidate) -> Lesson:
    """Return what is known of this candidate's provider, else of its model."""
    host = urlsplit(candidate.base_url).hostname or ""
    # Gateways put the vendor before the model's name.
    model = candidate.model.rpartition("/")[2].lower()
    for names, patterns in ((host, "hosts"), (model, "models")):
        for provider in _providers():
            if any(fnmatchcase(names, pattern) for pattern in getattr(provider, patterns)):
                return provider.lesson
    return Lesson()


@cache
def _providers() -> tuple[_Provider, ...]:
    return tuple(_read(from_json(line)) for line in LINES.read_bytes().splitlines() if line)


def _read(line: dict[str, Any]) -> _Provider:
    lesson = Lesson(
        frozenset(line.get("dropped", ())),
        line.get("renamed", {}),
        frozenset(line.get("mended", ())),
    )
    return _Provider(tuple(line.get("hosts", ())), tuple(line.get("models", ())), lesson)
