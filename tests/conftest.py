"""The surroundings of every test: no AWS account, no settings of the machine, quiet metrics."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.authorities import leave_out_the_worlds_authorities

# The time that an example takes only depends on how busy the machine is. The same examples are
# tried in each run; `--hypothesis-profile explore` draws new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeatable")

collect_ignore = ["browser"]  # for `make test-browser`, in its own environment

for _name in list(os.environ):
    if _name.startswith(("COMPLETIONS_", "AWS_", "LAMBDA_", "OPENAI_", "POWERTOOLS_")):
        del os.environ[_name]
# Before `completions` is imported: Powertools reads its names at import.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_SERVICE_NAME": "completions",
    "POWERTOOLS_METRICS_NAMESPACE": "Voice",
}

leave_out_the_worlds_authorities()

# A shell's background processes, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Mangum creates an event loop if there is none; this one can be closed.
with asyncio.Runner() as _runner:
    asyncio.set_event_loop(_runner.get_loop())
    import completions.app  # noqa: F401
asyncio.set_event_loop(None)

from tests.support.logs import Logged, logged  # noqa: E402 - see above


@pytest.fixture
def logs() -> Iterator[Logged]:
    """The function's log of this test."""
    with logged() as log:
        yield log


from tests.support.built import pytest_runtest_setup  # noqa: E402, F401 - a hook: what `built` means

# looptime gets the current loop in tests without one, too: Python 3.11 would then create a loop
# that is never closed.
asyncio.set_event_loop(None)
