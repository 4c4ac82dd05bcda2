"""Types of command line arguments; each refuses a bad text in words for whoever typed it."""

from __future__ import annotations

import argparse


def port(text: str) -> int:
    """Read a port; 0 is any free one."""
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is not a port: 1 to 65535, or 0 for any")
    return int(text)


def count(text: str) -> int:
    """Read how many times something is done."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1000):
        raise argparse.ArgumentTypeError(f"{text} is not a count: 1 to 1000")
    return int(text)


def speed(text: str) -> float:
    """Read a factor of the speed of speech."""
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.1 <= factor <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a speed: 0.1 to 1000")
    return factor
