"""Changed files are noticed, each once."""

from __future__ import annotations

import os
from contextlib import aclosing
from pathlib import Path

import pytest

from local import file_watcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Code with a prompt next to it."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/shop.py").touch()
    (tmp_path / "agents/prompt.md").touch()
    return tmp_path


@pytest.mark.parametrize("name", ["shop.py", "prompt.md", "new.py"])
async def test_a_change_is_reported_once(folder: Path, name: str) -> None:
    """New and changed files are noticed, code or not, in subfolders too."""
    async with aclosing(file_watcher.since(file_watcher.look(folder), folder, 0)) as told:
        path = folder / "agents" / name
        path.touch()
        os.utime(path, (1e9, 1e9))
        assert await anext(told) == path


async def test_a_deleted_file_is_a_change(folder: Path) -> None:
    """A deleted file counts as a change."""
    async with aclosing(file_watcher.since(file_watcher.look(folder), folder, 0)) as told:
        (folder / "agents/shop.py").unlink()
        assert await anext(told) == folder / "agents/shop.py"


async def test_bytecode_is_no_change(folder: Path) -> None:
    """Bytecode is ignored, since every import of the code writes it."""
    async with aclosing(file_watcher.since(file_watcher.look(folder), folder, 0)) as told:
        (folder / "agents/a.pyc").touch()
        (folder / "agents/prompt.md").unlink()
        assert (await anext(told)).name == "prompt.md"
