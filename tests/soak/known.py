"""Kinds that are known to go wrong: each with what is known, until it is mended.

They are played all the same, each in an environment of its own, and counted apart. The aim is an
empty table: a line goes when what it says is no longer so.
"""

from __future__ import annotations

_WHY: dict[str, tuple[str, ...]] = {}
KNOWN: dict[str, str] = {name: why for why, names in _WHY.items() for name in names}
