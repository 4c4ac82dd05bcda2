"""The platform's API on loopback, and `make connect` run against it."""

from collections.abc import Iterator

import pytest

from tests.support.connect import KEY, Connect, Done, environment
from tests.support.elevenlabs_api import API_KEY, ElevenLabs, Sdk


@pytest.fixture(scope="package")
def sdks() -> Iterator[tuple[Sdk, Sdk]]:
    """Two processes with the platform's SDK: one checks what the other sends."""
    both = Sdk(), Sdk()
    yield both
    for each in both:
        each.close()


@pytest.fixture
def api(sdks: tuple[Sdk, Sdk]) -> Iterator[ElevenLabs]:
    with ElevenLabs(sdks[0]) as served:
        yield served
    assert served.unknown == []


@pytest.fixture
def connect(api: ElevenLabs, sdks: tuple[Sdk, Sdk]) -> Connect:
    """Run it without a terminal, and check that its output shows no key."""

    def run(**variables: str) -> Done:
        done = Done(*sdks[1].connect(environment(api, **variables)))
        for key in (API_KEY, variables.get("CALLER_KEY") or KEY, variables.get("CALLER") or KEY):
            assert key not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run
