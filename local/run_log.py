"""The log of one run: keeps every line in a file, and shows it to a person in plain words.

Processes write into a pipe, so that each line is shown when it is written. Does not know what
lines mean.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

KEPT = 10
"""Logs of earlier runs."""


class RunLog:
    """The log of one run while the context is open; `stream` is what processes write to.

    `tell` gets each line, in a separate thread; `None` shows nothing. The file stays.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        folder.mkdir(exist_ok=True)
        for old in sorted(folder.glob("log-*.jsonl"))[: 1 - KEPT]:
            old.unlink(missing_ok=True)
        self.path = folder / f"log-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        self._tell = tell
        self._last = ""

    @property
    def last_line(self) -> str:
        """The last lines: if a process died, usually the reason."""
        return self._last

    def __enter__(self) -> Self:
        reader, writer = os.pipe()
        self.stream: IO[str] = os.fdopen(writer, "w", encoding="utf-8", buffering=1)
        self._thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stream.close()
        # A process that another one started may never close the other end.
        self._thread.join(2)

    def _read(self, reader: int) -> None:
        with open(reader, "rb") as lines, self.path.open("ab") as file:
            for line in lines:
                file.write(line)
                file.flush()
                text = line.decode("utf-8", "replace").rstrip()
                if text:
                    self._last = text
                    self._tell(text)
