"""Watches the files of a folder for changes, without help from the operating system.

Looking at a hundred files takes a millisecond, and needs no package. Does not know what follows
from a change.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

LOOK_EVERY_S = 0.5
WATCHED = frozenset({".py", ".json", ".jsonl", ".yaml", ".txt", ".md"})
"""Code, and files that code reads, such as prompts and lists."""


Look = Mapping[Path, int]
"""When each file of a folder was changed."""


async def since(
    before: Look, folder: Path, every_s: float = LOOK_EVERY_S
) -> AsyncGenerator[Path, None]:
    """Yield a file that was changed, created or removed; only one of several at once."""
    while True:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(look, folder)
        if changed := sorted(path for path, _ in now.items() ^ before.items()):
            before = now
            yield changed[0]


def look(folder: Path) -> Look:
    """Return when each watched file was changed."""
    found = {}
    for path in folder.rglob("*"):
        if path.suffix in WATCHED:
            try:
                found[path] = path.stat().st_mtime_ns
            except OSError:
                continue  # An editor has just moved it.
    return found
