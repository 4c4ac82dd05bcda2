"""Lets any path lead here that ends in a route's, since people paste all kinds of URLs.

Defines the converters that the app's routes use. Does not know the routes.
"""

from __future__ import annotations

from starlette.convertors import StringConvertor, register_url_convertor


class _AnyPrefix(StringConvertor):
    """Match any path before the part that matters: people paste all kinds of base URLs."""

    regex = "(?:.*/)?"


class _TrailingSlashes(StringConvertor):
    """Match any number of trailing slashes."""

    regex = "/*"


class _ShortestPrefix(StringConvertor):
    """Match the shortest prefix: the part after it may have its own slashes."""

    regex = "(?:.*?/)??"


def register() -> None:
    """Let routes be written with `prefix`, `short` and `slashes`."""
    register_url_convertor("prefix", _AnyPrefix())
    register_url_convertor("short", _ShortestPrefix())
    register_url_convertor("slashes", _TrailingSlashes())
