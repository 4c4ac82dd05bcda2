"""Who may ask the page's server."""

from __future__ import annotations

import pytest

from ops.talk.request_guard import HEADERS, RequestGuard

PORT = 9000
PAGE = {"host": f"127.0.0.1:{PORT}", "sec-fetch-site": "same-origin"}
JSON = {**PAGE, "content-type": "application/json"}


@pytest.fixture
def guard() -> RequestGuard:
    return RequestGuard()


def _path(guard: RequestGuard, inner: str) -> str:
    return guard.address(PORT).partition(str(PORT))[2] + inner


def test_the_page_itself_may_ask(guard: RequestGuard) -> None:
    """With token, host and origin right, the path behind the token is answered."""
    assert guard.admits("GET", _path(guard, "events"), PAGE, PORT) == ("events", "")
    assert guard.admits("POST", _path(guard, "say"), JSON, PORT) == ("say", "")
    assert guard.admits("GET", _path(guard, ""), {**PAGE, "sec-fetch-site": "none"}, PORT)[0] == ""


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
def test_other_sites_and_names_may_not(
    guard: RequestGuard, method: str, headers: dict[str, str]
) -> None:
    """A foreign origin and a foreign host name are refused, even with the token."""
    assert guard.admits(method, _path(guard, "say"), headers, PORT)[0] is None


@pytest.mark.parametrize("site", [None, "none"])
def test_a_post_must_say_that_it_is_the_pages(guard: RequestGuard, site: str | None) -> None:
    """A POST needs the header that other pages cannot send."""
    headers = {name: value for name, value in JSON.items() if name != "sec-fetch-site"}
    headers |= {"sec-fetch-site": site} if site else {}
    assert guard.admits("POST", _path(guard, "say"), headers, PORT)[0] is None


def test_a_form_may_not(guard: RequestGuard) -> None:
    """A body of a type that an HTML form can send is refused."""
    headers = {**PAGE, "content-type": "text/plain"}
    assert guard.admits("POST", _path(guard, "say"), headers, PORT)[0] is None


@pytest.mark.parametrize("path", ["/", "/say", "/wrong/say", "/é/say", "//say"])
def test_without_the_token_nothing_is_answered(guard: RequestGuard, path: str) -> None:
    """Every path needs the token, and each run has its own."""
    assert guard.admits("POST", path, JSON, PORT)[0] is None
    assert guard.admits("POST", _path(RequestGuard(), "say"), JSON, PORT)[0] is None


def test_nothing_comes_from_another_host() -> None:
    """The content policy allows the server's own files, and neither inline code nor frames."""
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
