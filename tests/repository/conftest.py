import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.intrinsics import read

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return read(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def sources() -> list[Path]:
    """The repository's files, committed or new; from git if there is git."""
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        found = [
            path
            for path in ROOT.rglob("*")
            if "__pycache__" not in path.parts
            and not any(part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
        ]
    return [path for path in found if path.is_file()]
