"""Kinds that are known to fail, each with the reason, until it is fixed.

They are still played, each in its own environment, and counted separately. The aim is an empty
table: remove a line when it is no longer true.
"""

from __future__ import annotations

_WHY: dict[str, tuple[str, ...]] = {}
KNOWN: dict[str, str] = {name: why for why, names in _WHY.items() for name in names}
