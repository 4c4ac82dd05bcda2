"""What providers are known to refuse, so that a first turn is not spent on learning it.

`known_providers.jsonl` has a line for each: facts that the vendor documents or others have
verified, and only remedies that are harmless if the fact is wrong. A line names hosts or models:

    hosts, models   patterns (`*` stands for anything), of which both must fit where both are given;
                    of lines that fit, the first with hosts counts, else the first without
    dropped         fields to leave out, as paths (see `field_paths`)
    renamed         fields to send under another name
    mended          shapes to mend, as named in `shapes`
    source          where it stands

Knows names, not what was learnt from refusals.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json

from completions.immutable import immutable
from completions.quirks.lessons import Lesson
from completions.settings import Candidate

LINES = Path(__file__).with_suffix(".jsonl")


@immutable
class _Provider:
    hosts: tuple[str, ...]
    models: tuple[str, ...]
    lesson: Lesson

    def fits(self, host: str, model: str) -> bool:
        return all(
            not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
            for name, patterns in ((host, self.hosts), (model, self.models))
        )


def facts_of(candidate: Candidate) -> Lesson:
    """Return what is known of this candidate's provider, else of its model."""
    host = urlsplit(candidate.base_url).hostname or ""
    # Gateways put the vendor before the model's name.
    model = candidate.model.rpartition("/")[2].lower()
    fitting = (one for one in _providers() if one.fits(host, model))
    best = min(fitting, key=lambda one: not one.hosts, default=None)
    return best.lesson if best else Lesson()


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
