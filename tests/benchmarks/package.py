"""The function's package as Lambda unpacks it."""

from __future__ import annotations

from pathlib import Path

from local.layout import BUILD_FOLDER, CodeError
from tests.benchmarks.figures import Figure, spread
from tests.benchmarks.process import ROOT

MB = 1_000_000


def measure() -> Figure:
    """Measure the megabytes of all files. Raises CodeError if there is no package."""
    folder: Path = ROOT / BUILD_FOLDER / "CompletionsFunction"
    if not folder.is_dir():
        raise CodeError("nothing built: run `make build`")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Figure("function package, unzipped", "MB", spread([size / MB]), 60, 45)
