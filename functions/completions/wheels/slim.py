"""Removes from a package what Lambda's Python never reads: `python slim.py FOLDER KEPT [LIMIT]`.

That is the sources of third-party modules that have bytecode (a traceback still names file and
line, and the version is pinned), and the parts of shared objects for debuggers and linkers. The
folder KEPT stays unchanged. With a LIMIT in bytes, for an agent's package, it does so only to one
that is larger: a framework may read its own sources. Knows ELF for 64-bit machines, whatever
machine this is.
"""

import struct
import sys
from pathlib import Path

# ELF-64: where the program headers are, and how many; where the section headers are.
_PROGRAM_HEADERS, _SECTION_HEADERS = (32, 54, 56), (40, 60, 62)


def without_sections(data: bytes) -> bytes:
    """Return a shared object without section headers and the parts that only they name.

    The loader reads only program headers (ELF specification, "Program Loading"): after the last
    segment of the file come symbols and notes for other tools.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        return data
    offset_at, size_at, count_at = _PROGRAM_HEADERS
    (offset,) = struct.unpack_from("<Q", data, offset_at)
    (size,), (count,) = (struct.unpack_from("<H", data, at) for at in (size_at, count_at))
    end = offset + size * count
    for number in range(count):
        begins, _, _, length = struct.unpack_from("<4Q", data, offset + number * size + 8)
        end = max(end, begins + length)
    slim = bytearray(data[:end])
    at, *numbers_at = _SECTION_HEADERS
    struct.pack_into("<Q", slim, at, 0)
    for at in numbers_at:
        struct.pack_into("<H", slim, at, 0)
    return bytes(slim)


def main(folder: Path, kept: Path) -> None:
    """Slim the package in place."""
    for file in folder.rglob("*.so*"):
        file.write_bytes(without_sections(file.read_bytes()))
    for bytecode in list(folder.rglob("__pycache__/*.pyc")):
        module = bytecode.name.split(".")[0]
        source = bytecode.parent.with_name(f"{module}.py")
        if kept not in bytecode.parents and source.exists():
            # Where the source was, so that Python takes it for the module.
            bytecode.rename(source.with_suffix(".pyc"))
            source.unlink()
    for cache in list(folder.rglob("__pycache__")):
        if not any(cache.iterdir()):
            cache.rmdir()


def for_agent(folder: Path, kept: Path, limit_bytes: int) -> str:
    """Slim the package if it is larger than that; return what was done."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size <= limit_bytes:
        return "whole for an agent"
    main(folder, kept)
    return "without sources for an agent"


if __name__ == "__main__":
    _folder, _kept, *_limit = sys.argv[1:]
    if _limit:
        print(for_agent(Path(_folder), Path(_kept), int(_limit[0])))  # noqa: T201
    else:
        main(Path(_folder), Path(_kept))
