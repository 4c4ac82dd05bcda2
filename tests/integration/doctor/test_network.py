"""The doctor on addresses that cannot be reached, and on TLS."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from ops.doctor import report
from ops.doctor.checks import CheckRun
from ops.pasted_url import Address
from tests.support.deployment import unused_port
from tests.support.doctor import results
from tests.support.patients import (
    KEY,
    healthy,
    serve,
)
from tests.support.tls import make_certificate, server_context


def test_a_closed_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A closed port is reported at once, and nothing else is tried."""
    with unused_port() as port:
        findings = list(CheckRun(Address.parse(f"127.0.0.1:{port}"), KEY, "m").rows())
    assert findings[0].troubles[0].cause == "refused"
    assert {each.result for each in findings[1:]} == {"skipped"}
    assert not report.usable(findings)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(-2, "Name or service not known"), "dns"),
        (TimeoutError("timed out"), "unreachable"),
        (OSError(113, "No route to host"), "unreachable"),
    ],
)
def test_an_unreachable_host_has_its_cause(
    error: OSError, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name and an unreachable network are different causes."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    findings = list(
        CheckRun(Address.parse("https://x.lambda-url.eu-west-1.on.aws"), KEY, "m").rows()
    )
    assert findings[0].troubles[0].cause == cause


def test_plain_http_at_an_https_url_is_named() -> None:
    """https:// to a port that speaks plain HTTP has its own cause."""
    with serve(healthy) as url:
        address = Address.parse(url.replace("http", "https"))
        findings = list(CheckRun(address, KEY, "m").rows())
    assert findings[0].troubles[0].cause == "tls"


def test_a_self_signed_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-signed certificate is refused until it is trusted."""
    pem = make_certificate(tmp_path / "server.pem")
    with serve(healthy, tls=server_context(pem)) as url:
        run = CheckRun(Address.parse(url), KEY, "m")
        assert next(run.rows()).troubles[0].cause == "tls_certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert results(list(CheckRun(Address.parse(url), KEY, "m").rows())) == {}
