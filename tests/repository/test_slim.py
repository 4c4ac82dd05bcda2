"""What `wheels/slim.py` removes from the package, and what it leaves."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pydantic_core
import pytest

SLIM = Path(__file__).parents[2] / "functions" / "completions" / "wheels" / "slim.py"


@pytest.fixture
def slim() -> ModuleType:
    """The program."""
    spec = importlib.util.spec_from_file_location("slim", SLIM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_other_peoples_modules_run_without_sources(slim: ModuleType, tmp_path: Path) -> None:
    """Wheels keep only bytecode, which still names file and line; our modules keep sources."""
    for package in ("theirs", "ours"):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("def fail():\n    raise ValueError('seen')\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "."], cwd=tmp_path, check=True)
    slim.main(tmp_path, tmp_path / "ours")
    assert [file.name for file in (tmp_path / "theirs").iterdir()] == ["__init__.pyc"]
    assert (tmp_path / "ours" / "__init__.py").exists()
    done = _run("import ours, theirs; theirs.fail()", tmp_path)
    assert "theirs/__init__.py" in done.stderr
    assert "line 2, in fail" in done.stderr
    assert "ValueError: seen" in done.stderr


def test_without_bytecode_sources_stay(slim: ModuleType, tmp_path: Path) -> None:
    """Without a CPython 3.13 the package keeps its sources."""
    (tmp_path / "theirs.py").write_text("found = True\n")
    slim.main(tmp_path, tmp_path / "ours")
    assert _run("import theirs; print(theirs.found)", tmp_path).stdout == "True\n"


@pytest.mark.parametrize(("limit_bytes", "left"), [(1_000_000, "a.py"), (10, "a.pyc")])
def test_an_agents_package_is_slim_only_if_it_must(
    slim: ModuleType, tmp_path: Path, limit_bytes: int, left: str
) -> None:
    """An agent's package keeps its sources if it is below Lambda's limit."""
    (tmp_path / "a.py").write_text("found = True\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "."], cwd=tmp_path, check=True)
    told = slim.for_agent(tmp_path, tmp_path / "ours", limit_bytes)
    assert told.endswith("for an agent")
    assert (tmp_path / left).exists()
    assert len(list(tmp_path.glob("a.*"))) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="shared objects here are no ELF files")
def test_a_slim_shared_object_loads(slim: ModuleType, tmp_path: Path) -> None:
    """A stripped shared object loads, and stripping it again changes nothing."""
    (original,) = Path(pydantic_core.__file__).parent.glob("_pydantic_core*.so")
    made = slim.without_sections(original.read_bytes())
    assert len(made) <= original.stat().st_size
    assert slim.without_sections(made) == made
    (tmp_path / original.name).write_bytes(made)
    code = (
        "import importlib.machinery as m, sys; sys.path += sys.argv[1:];"
        "found = m.PathFinder.find_spec('_pydantic_core', ['.']); print(found.origin);"
        "import ctypes; ctypes.CDLL(found.origin)"
    )
    done = _run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert original.name in done.stdout


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01 of 32 bits", b"no shared object"])
def test_a_file_that_is_not_elf_stays_unchanged(slim: ModuleType, data: bytes) -> None:
    """A file that is not ELF stays unchanged."""
    assert slim.without_sections(data) == data
