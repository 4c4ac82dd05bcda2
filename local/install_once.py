"""Install something once, even if several makes in one clone want it at the same time.

    python local/install_once.py STAMP SOURCE MESSAGE COMMAND...

Runs the command and makes the stamp, unless another make has done both meanwhile. Without a source
the command makes the stamp itself. Standard library only: it runs before any package is installed.
"""

import fcntl
import subprocess
import sys
from pathlib import Path

LOCK = Path(".local", "install.lock")


def main(stamp: str, source: str, message: str, *command: str) -> int:
    """Return the command's exit status; 0 if there was nothing left to do."""
    LOCK.parent.mkdir(exist_ok=True)
    # The kernel releases the lock however its holder ends.
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another make is installing here: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_done(Path(stamp), source):
            return 0
        print(message, flush=True)
        status = subprocess.run(command, check=False).returncode
        if status == 0 and source:
            Path(stamp).touch()
    return status


def _is_done(stamp: Path, source: str) -> bool:
    if not stamp.exists():
        return False
    return not source or stamp.stat().st_mtime >= Path(source).stat().st_mtime


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
