"""Compressed answers, unpacked however they are cut."""

from __future__ import annotations

import gzip
import zlib

import pytest

from completions.upstream.compression import Unpacker, is_known, is_plain

TEXT = b"Hello there. " * 50
PIECE_BYTES = 7


def unpacked(coding: str, packed: bytes, step: int) -> bytes:
    """Return what these bytes unpack to if so many come at a time."""
    unpacker, found = Unpacker(coding, PIECE_BYTES), b""
    for start in range(0, len(packed), step):
        unpacker.feed(packed[start : start + step])
        while piece := unpacker.take():
            assert len(piece) <= PIECE_BYTES
            found += piece
    return found


def bare() -> bytes:
    """Return the text as deflate without zlib's header, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(TEXT) + packer.flush()


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("coding", "packed", "expected"),
    [
        ("gzip", gzip.compress(TEXT), TEXT),
        (" GZip ", gzip.compress(TEXT), TEXT),
        ("gzip", gzip.compress(TEXT) * 2, TEXT * 2),
        ("gzip", gzip.compress(b"") * 100 + gzip.compress(TEXT), TEXT),
        ("gzip", gzip.compress(TEXT) + b"\0\0\0", TEXT),
        ("gzip", gzip.compress(TEXT)[:-6], TEXT),
        ("deflate", zlib.compress(TEXT), TEXT),
        ("deflate", zlib.compress(TEXT) + b"more", TEXT),
        ("deflate", bare(), TEXT),
    ],
    ids=lambda value: type(value).__name__,  # gzip writes the time.
)
def test_packets_do_not_matter(coding: str, packed: bytes, expected: bytes, step: int) -> None:
    """This holds for one member or several, with or without an end; each piece is bounded."""
    assert unpacked(coding, packed, step) == expected


def test_flushed_data_is_available_at_once() -> None:
    """No byte waits for the end of the answer."""
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(b"Hello") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert unpacked("gzip", begun, 10_000) == b"Hello"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_uncompressed_data_is_an_error(coding: str) -> None:
    """The header is wrong."""
    with pytest.raises(ValueError, match="not compressed"):
        unpacked(coding, b"\xff data: hello, there\n\n", 10_000)


def test_codings_are_distinguished() -> None:
    """Codings that need an extra package are unknown."""
    assert [is_plain(coding) for coding in ("", " Identity", "gzip")] == [True, True, False]
    assert [is_known(coding) for coding in ("", "X-GZIP", "deflate", "br", "zstd", "gzip, br")] == [
        *[True] * 3,
        *[False] * 3,
    ]
