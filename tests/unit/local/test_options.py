"""The command line's options: read, or refused in one helpful line."""

import pytest

from local import options

LIST = '["Hm", "Eh, one sec", "a B=c"]'


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        ("InvokeMode=BUFFERED KeyTtlS=5", {"InvokeMode": "BUFFERED", "KeyTtlS": "5"}),
        ("  UpstreamModel=  KeyTtlS=5 ", {"UpstreamModel": "", "KeyTtlS": "5"}),
        (f"BufferWords={LIST} KeyTtlS=5", {"BufferWords": LIST, "KeyTtlS": "5"}),
        (f"BufferWords='{LIST}'", {"BufferWords": LIST}),
        ('UpstreamExtraBody={"a": {"b": 1}}', {"UpstreamExtraBody": '{"a": {"b": 1}}'}),
        ("FallbackBaseUrl=http://a/v1?b=c", {"FallbackBaseUrl": "http://a/v1?b=c"}),
        ("AllowedModels=a, b KeyTtlS=5", {"AllowedModels": "a, b", "KeyTtlS": "5"}),
    ],
)
def test_parameters_may_hold_lists(text: str, parameters: dict[str, str]) -> None:
    """A value ends where the next name begins, a JSON value where the JSON ends."""
    given = {"PARAMETERS": text} if text else {}
    assert options.read([], given).parameters == parameters


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PORT": "99999"}, "PORT: 99999 is not a port: use 1 to 65535, or 0 for any"),
        ({"PORT": "-1"}, "PORT: -1 is not a port: use 1 to 65535, or 0 for any"),
        ({"PORT": "http"}, "PORT: http is not a port: use 1 to 65535, or 0 for any"),
        ({"LIMIT": "0"}, "LIMIT: 0 is not a number of processes: use 1 to 1000"),
        ({"PARAMETERS": "one"}, "PARAMETERS: expected Name=value, found one"),
        ({"PARAMETERS": "BufferWords=[Hm"}, "PARAMETERS: BufferWords is not JSON; "),
        ({"SECRETS": "the-key"}, "SECRETS: not a JSON object of secrets, as in SECRETS='{"),
        ({"UPSTREAM": "openai"}, "UPSTREAM=openai needs the key in the variable OPENAI_API_KEY"),
        ({"UPSTREAM": "foo"}, "UPSTREAM=foo is neither model, openai nor a base URL such as "),
        ({"UPSTREAM": "ftp://a/v1"}, "UPSTREAM=ftp://a/v1 is neither"),
        ({"UPSTREAM": "http://a:b/v1"}, "UPSTREAM=http://a:b/v1 is neither"),
        ({"UPSTREAM": "http:///v1"}, "UPSTREAM=http:///v1 is neither"),
        (
            {"UPSTREAM": "https://a/v1/chat/completions"},
            "UPSTREAM must not include /chat/completions, which is appended to it: UPSTREAM=https://a/v1",
        ),
        (
            {"UPSTREAM": "http://a:1/v1/responses/"},
            "UPSTREAM must not include /responses, which is appended to it: UPSTREAM=http://a:1/v1",
        ),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, str], message: str) -> None:
    """A mistake is reported in one line that names the option as it was given."""
    with pytest.raises(SystemExit) as caught:
        options.read([], given)
    told = str(caught.value.code)
    assert told.startswith(f"error: {message}")
    assert "\n" not in told


@pytest.mark.parametrize(
    "upstream", ["model", "http://127.0.0.1:11434/v1", "https://a.invalid", "http://[::1]:1/v1"]
)
def test_a_well_formed_upstream_is_accepted(upstream: str) -> None:
    """Any well-formed upstream is accepted without asking it."""
    assert options.read([], {"UPSTREAM": upstream}).upstream == upstream


def test_secrets_are_texts_or_json() -> None:
    """Secrets are given by logical id, as text or JSON, as the function reads them."""
    given = {"SECRETS": '{"ShopSecret": "the-key", "Both": {"a": "b"}}'}
    assert options.read([], given).secrets == {"ShopSecret": "the-key", "Both": '{"a": "b"}'}


def test_a_flag_wins_over_a_variable() -> None:
    """A flag wins over a variable, and both get the same checks."""
    assert options.read(["--port=0"], {"PORT": "8081"}).port == 0


def test_openais_key_is_openais_variable() -> None:
    """OPENAI_API_KEY is used unless UPSTREAM_KEY is set."""
    given = {"UPSTREAM": "openai", "OPENAI_API_KEY": "sk-1"}
    assert options.read([], given).upstream_key == "sk-1"
    assert options.read([], given | {"UPSTREAM_KEY": "sk-2"}).upstream_key == "sk-2"
