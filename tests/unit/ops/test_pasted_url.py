"""Pasted URLs: the doctor and `make connect` mean the same server by the same text."""

from __future__ import annotations

import pytest

from ops.connect.deployment import url_deployment
from ops.pasted_url import Address

LAMBDA = "https://abc.lambda-url.eu-central-1.on.aws"


@pytest.mark.parametrize(
    "pasted",
    [
        LAMBDA,
        f"{LAMBDA}/",
        f"{LAMBDA}/v1",
        f" {LAMBDA}/v1/ ",
        f"{LAMBDA}/health",
        f"{LAMBDA}/chat/completions",
        f"{LAMBDA}/v1/models",
        f"{LAMBDA}/v1/chat/completions",
        f"{LAMBDA}/v1/chat/completions/chat/completions/",
        f"{LAMBDA}/v1/responses?x=1#y",
        f"{LAMBDA}:443/v1",
        "abc.lambda-url.eu-central-1.on.aws/v1",
        "HTTPS://ABC.lambda-url.eu-central-1.on.aws:443",
    ],
)
def test_one_server_however_it_was_pasted(pasted: str) -> None:
    """With or without scheme, port, /v1, slashes, query or endpoint, one base URL is meant."""
    assert Address.parse(pasted).base_url == f"{LAMBDA}/v1"
    assert url_deployment(pasted, "key").url == f"{LAMBDA}/v1"


@pytest.mark.parametrize(
    ("pasted", "base_url"),
    [
        ("https://a.example/voice", "https://a.example/voice"),
        ("https://a.example/voice/v1/responses", "https://a.example/voice/v1"),
        ("https://a.example/v1beta/openai/chat/completions", "https://a.example/v1beta/openai"),
    ],
)
def test_a_path_is_kept_as_the_base(pasted: str, base_url: str) -> None:
    """A pasted path is kept as the base, and only an empty one becomes /v1."""
    assert Address.parse(pasted).base_url == base_url


@pytest.mark.parametrize(
    ("pasted", "base_url"),
    [
        ("https://a.example:8443/v1", "https://a.example:8443/v1"),
        ("http://host:80/v1", "http://host/v1"),
        ("http://host:443/v1", "http://host:443/v1"),
    ],
)
def test_only_the_schemes_own_port_is_left_out(pasted: str, base_url: str) -> None:
    """A port is named only if it is not the scheme's default."""
    assert Address.parse(pasted).base_url == base_url


@pytest.mark.parametrize(
    ("pasted", "base_url", "is_loopback"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/v1", True),
        ("localhost:8080/v1/", "http://localhost:8080/v1", True),
        ("[::1]:8080", "http://[::1]:8080/v1", True),
        ("a.example:8080", "https://a.example:8080/v1", False),
    ],
)
def test_without_a_scheme_only_this_machine_is_asked_by_http(
    pasted: str, base_url: str, is_loopback: bool
) -> None:
    """Without a scheme, loopback gets http and every other host https."""
    address = Address.parse(pasted)
    assert (address.base_url, address.is_loopback) == (base_url, is_loopback)


@pytest.mark.parametrize(
    "pasted",
    ["", "ftp://host", "https://", "http://höst", "http://h/ä", "http://h/a b", "http://h:x"],
)
def test_a_malformed_url_is_refused(pasted: str) -> None:
    """A URL that cannot be asked raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        Address.parse(pasted)


@pytest.mark.parametrize("pasted", ["https://me:hush@h/v1", "me:hush@h", "ftp://me:hush@h/ä"])
def test_a_user_in_the_url_is_refused_and_not_repeated(pasted: str) -> None:
    """A URL with a user is refused, and its password is not printed."""
    with pytest.raises(ValueError, match="user name") as refused:
        Address.parse(pasted)
    assert "hush" not in str(refused.value)
