"""Our function under uvicorn, with its default settings and keys in memory."""

from __future__ import annotations

import os

from tests.support.deployment import deploy

app = deploy(os.environ["UPSTREAM"])
