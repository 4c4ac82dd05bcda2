"""Who may ask the page's server."""

from __future__ import annotations

import pytest

from ops.talk.request_guard import HEADERS, Gate

PORT = 9000
PAGE = {"host": f"127.0.0.1:{PORT}", "sec-fetch-site": "same-origin"}
JSON = {**PAGE, "content-type": "application/json"}


@pytest.fixture
def gate() -> Gate:
    return Gate()


def _path(gate: Gate, inner: str) -> str:
    return gate.address(PORT).partition(str(PORT))[2] + inner


def test_the_page_itself_may_ask(gate: Gate) -> None:
    """With token, host and origin right, the path behind the token is answered."""
    assert gate.admits("GET", _path(gate, "events"), PAGE, PORT) == ("events", "")
    assert gate.admits("POST", _path(gate, "say"), JSON, PORT) == ("say", "")
    assert gate.admits("GET", _path(gate, ""), {**PAGE, "sec-fetch-site": "none"}, PORT)[0] == ""


@pytest.mark.parametrize(
    "headers",
    [
        {**JSON, "host": f"evil.example:{PORT}"},
        {**JSON, "host": "127.0.0.1"},
        {**JSON, "host": f"127.0.0.1:{PORT + 1}"},
        {**JSON, "sec-fetch-site": "cross-site"},
        {**JSON, "sec-fetch-site": "same-site"},
        {"content-type": "application/json"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_sites_and_names_may_not(gate: Gate, method: str, headers: dict[str, str]) -> None:
    """A foreign origin and a foreign host name are refused, even with the token."""
    assert gate.admits(method, _path(gate, "say"), headers, PORT)[0] is None


@pytest.mark.parametrize("site", [None, "none"])
def test_a_post_must_say_that_it_is_the_pages(gate: Gate, site: str | None) -> None:
    """A POST needs the header that other pages cannot send."""
    headers = {name: value for name, value in JSON.items() if name != "sec-fetch-site"}
    headers |= {"sec-fetch-site": site} if site else {}
    assert gate.admits("POST", _path(gate, "say"), headers, PORT)[0] is None


def test_a_form_may_not(gate: Gate) -> None:
    """A body of a type that an HTML form can send is refused."""
    headers = {**PAGE, "content-type": "text/plain"}
    assert gate.admits("POST", _path(gate, "say"), headers, PORT)[0] is None


@pytest.mark.parametrize("path", ["/", "/say", "/wrong/say", "/é/say", "//say"])
def test_without_the_token_nothing_is_answered(gate: Gate, path: str) -> None:
    """Every path needs the token, and each run has its own."""
    assert gate.admits("POST", path, JSON, PORT)[0] is None
    assert gate.admits("POST", _path(Gate(), "say"), JSON, PORT)[0] is None


def test_nothing_comes_from_another_host() -> None:
    """The content policy allows the server's own files, and neither inline code nor frames."""
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
