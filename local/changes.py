"""Which file of a folder has changed: watched without help of the operating system.

A look at a hundred files takes a millisecond, and needs no package. What follows from a change is
not known here.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

LOOK_EVERY_S = 0.5
WATCHED = frozenset({".py", ".json", ".jsonl", ".yaml", ".txt", ".md"})
"""Code, and what code reads: prompts, lists."""


Look = Mapping[Path, int]
"""When each file of a folder was changed."""


async def since(
    before: Look, folder: Path, every_s: float = LOOK_EVERY_S
) -> AsyncGenerator[Path, None]:
    """Yield a file that was changed, made or removed; one of several that changed together."""
    while True:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(look, folder)
        if changed := sorted(path for path, _ in now.items() ^ before.items()):
            before = now
            yield changed[0]


def look(folder: Path) -> Look:
    """Return what is there now."""
    found = {}
    for path in folder.rglob("*"):
        if path.suffix in WATCHED:
            try:
                found[path] = path.stat().st_mtime_ns
            except OSError:
                continue  # An editor has just moved it.
    return found
