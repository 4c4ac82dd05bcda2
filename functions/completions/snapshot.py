"""SnapStart's hooks: what is done before a snapshot is taken, and after each restore from it.

Knows what an environment keeps between turns; AWS's package tells the runtime of the hooks.
"""

from __future__ import annotations

import os
import random
import ssl

import snapshot_restore_py

from completions.keys.keys import Keys
from completions.settings import Settings
from completions.tools import schemas
from completions.upstream.client import Upstream


def register(settings: Settings, keys: Keys, upstream: Upstream) -> None:
    """Register both hooks for an application that has these."""

    def before_snapshot() -> None:
        keys.warm()
        schemas.warm()
        import completions.tools.listed_values  # noqa: F401 - for the turns that need it

        upstream.warm(settings.candidates)
        if settings.responder:
            from completions.agent_api import sdk_warmup  # The SDK, which no other turn loads.

            sdk_warmup.warm()

    def after_restore() -> None:
        keys.forget()
        upstream.forget()
        # Otherwise all environments restored from one snapshot would draw the same jitter. Ids come
        # from `secrets` and `uuid4`, hence from the kernel, which no snapshot repeats.
        random.seed()
        # TLS draws from OpenSSL's own generator, whose state is in the snapshot, too.
        ssl.RAND_add(os.urandom(32), 32.0)

    snapshot_restore_py.register_before_snapshot(before_snapshot)
    snapshot_restore_py.register_after_restore(after_restore)
