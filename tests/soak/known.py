"""Kinds that are known to go wrong: each with what is known, until it is mended."""

from __future__ import annotations

KNOWN: dict[str, str] = {}
