"""The HTTP library of the SDK: `httpx2`, or `httpx` where a framework pins an older SDK."""

from __future__ import annotations

import importlib
from typing import Any

from openai import DefaultAsyncHttpxClient

httpx: Any = importlib.import_module(
    DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
)
