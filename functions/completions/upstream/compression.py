"""Unpack an answer that came compressed although nobody asked for it.

Proxies do that, against our `accept-encoding`. Knows gzip and deflate (RFC 1952, 1950 and 1951), in
pieces of a bounded size, as they come; `br` and `zstd` would need a package each.
"""

from __future__ import annotations

import zlib

_PLAIN = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})
_PACKED = _GZIP | {"deflate"}
_MAGIC = b"\x1f\x8b"


def is_plain(coding: str) -> bool:
    """Return whether a `content-encoding` means uncompressed bytes."""
    return coding.strip().lower() in _PLAIN


def is_known(coding: str) -> bool:
    """Return whether bytes of this `content-encoding` can be read."""
    return coding.strip().lower() in _PLAIN | _PACKED


class Unpacker:
    """Unpacks one answer of a known `content-encoding`, at most `piece_bytes` at a time."""

    def __init__(self, coding: str, piece_bytes: int) -> None:
        self._gzip = coding.strip().lower() in _GZIP
        self._piece_bytes = piece_bytes
        self._packed = b""
        self._inflate: zlib._Decompress | None = None
        self._whole = False
        """True after the end: gzip may begin again, if each piece is compressed separately."""

    def feed(self, packed: bytes) -> None:
        """Add what has come."""
        self._packed += packed

    def take(self) -> bytes:
        """Return what can be unpacked now; empty if more has to come.

        Raises:
            ValueError: The bytes are not compressed in the stated way.
        """
        piece = b""
        while not piece and (self._packed or self._inflate) and self._begin():
            assert self._inflate is not None  # noqa: S101 - `_begin` has made it
            try:
                piece = self._inflate.decompress(self._packed, self._piece_bytes)
            except zlib.error as error:
                raise ValueError(f"not compressed as it says: {error}") from error
            if self._inflate.eof:
                self._packed, self._inflate = self._inflate.unused_data, None
                self._whole = True
            else:
                self._packed = self._inflate.unconsumed_tail
                if not self._packed:
                    break
        return piece

    def _begin(self) -> bool:
        """Begin unpacking once the format is clear; return False before that and after the end."""
        if self._inflate is None and len(self._packed) >= 2:
            if self._whole and not (self._gzip and self._packed.startswith(_MAGIC)):
                self._packed = b""
                return False
            bits = 16 + zlib.MAX_WBITS
            if not self._gzip:
                # Servers use "deflate" for two formats; zlib's has a header with a checksum.
                is_zlib = self._packed[0] & 15 == 8 and int.from_bytes(self._packed[:2]) % 31 == 0
                bits = zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
            self._inflate = zlib.decompressobj(bits)
        return self._inflate is not None
