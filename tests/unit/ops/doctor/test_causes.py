"""The table of causes is complete, and what is shown of it can be read."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from pydantic_core import to_json

from completions import errors
from completions.upstream.refusals import to_error
from ops.doctor import report
from ops.doctor.causes import CAUSES, of_exchange
from ops.doctor.dialects import Trouble
from ops.doctor.visit import Finding
from ops.doctor.wire import Exchange, Piece

ROOT = Path(__file__).resolve().parents[4]
SOURCES = sorted((ROOT / "ops/doctor").glob("*.py"))


def test_every_cause_is_in_use_and_every_trouble_has_one() -> None:
    """A name that is given to a trouble stands in the table, and the table has no others."""
    strings = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    text = "".join(path.read_text() for path in SOURCES)
    given = set(re.findall(r"(?:Trouble|_Broken|\.breaks)\(\s*\"(\w+)\"", text))
    assert given <= CAUSES.keys()
    for name in CAUSES:
        assert name in strings
        assert len(re.findall(rf'"{name}"', text)) > 1, f"{name} is never told"


def test_every_cause_has_a_reason_and_a_remedy() -> None:
    """Each is a sentence or more, for people."""
    for cause in CAUSES.values():
        assert cause.why.endswith(".")
        assert re.search(r"[.?]$", cause.remedy)


def test_the_doctor_needs_the_standard_library_only() -> None:
    """A fresh checkout is enough: nothing is imported that Python does not bring."""
    beside = ("pasted_url", "caller_key")
    for path in [*SOURCES, *(ROOT / f"ops/{name}.py" for name in beside)]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None) or node.names[0].name
                ours = ("ops.doctor", *(f"ops.{name}" for name in beside))
                known = module.startswith(ours) or module == "__future__"
                assert known or module.partition(".")[0] in sys.stdlib_module_names, path


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (errors.Unauthorized, "caller_key"),
        (errors.NotFound, "path_unknown"),
        (errors.ModelNotFound, "model_unknown"),
        (errors.MethodNotAllowed, "path_unknown"),
        (errors.TooLarge, "too_large"),
        (errors.InvalidRequest, "bad_request"),
        (errors.KeyUnavailable, "key_unavailable"),
        (errors.UpstreamAuth, "upstream_auth"),
        (errors.UpstreamUnavailable, "model_down"),
        (errors.UpstreamTimeout, "model_slow"),
        (errors.InvalidToolCall, "model_down"),
        (errors.CompletionsError, "bug"),
    ],
)
def test_each_error_of_the_function_is_known(
    kind: type[errors.CompletionsError], cause: str
) -> None:
    """What the function may answer has a cause of its own here."""
    from pydantic_core import to_json

    error = kind("No.")
    came = Exchange(status=error.status, pieces=[Piece(0, to_json(error.body()))])
    found = of_exchange(came)
    assert found
    assert found.cause == cause


@pytest.mark.parametrize(
    "came",
    [
        Exchange(status=409, headers={"x-amzn-errortype": "SnapStartNotReadyException"}),
        Exchange(status=502, pieces=[Piece(0, b'{"Message":"SnapStartNotReadyException"}')]),
    ],
)
def test_a_version_without_its_snapshot_is_told(came: Exchange) -> None:
    """After two weeks without a call; which status AWS gives it nobody has written down."""
    found = of_exchange(came)
    assert found
    assert found.cause == "no_snapshot"


OPENAI_404 = b'{"error":{"code":"not_found_error","message":"%s"}}'
BEDROCKS = {
    b'{"Message":"Authentication failed: Please make sure your API Key is valid."}': (
        403,
        "upstream_auth",
    ),
    b'{"Message":"User: u is not authorized to perform: bedrock:InvokeModel on resource: r"}': (
        403,
        "upstream_rights",
    ),
    b'{"Message":"User: u is not authorized to perform: bedrock:CallWithBearerToken"}': (
        403,
        "bedrock_token",
    ),
    b'{"message":"You don\'t have access to the model with the specified model ID."}': (
        403,
        "upstream_rights",
    ),
    b'{"Message":"The provided model identifier is invalid."}': (400, "bedrock_name"),
    b'{"Message":"Invocation of model ID m with on-demand throughput isn\'t supported."}': (
        400,
        "bedrock_profile",
    ),
    OPENAI_404 % b"The model 'm' isn't supported on this route": (404, "bedrock_path"),
    OPENAI_404 % b"The model 'm' does not exist": (404, "model_unknown"),
    OPENAI_404 % b"No such path: GET /v1/model": (404, "path_unknown"),
    b'{"Message":"Forbidden"}': (403, "aws_forbidden"),
}


@pytest.mark.parametrize("body", BEDROCKS, ids=lambda body: body[:60].decode())
def test_bedrocks_words_are_known_and_no_others(body: bytes) -> None:
    """It has no codes, so its words tell the key, the right, the name, the profile and the path."""
    status, cause = BEDROCKS[body]
    found = of_exchange(Exchange(status=status, pieces=[Piece(0, body)]))
    assert found
    assert found.cause == cause


@pytest.mark.parametrize(
    ("action", "cause"),
    [("bedrock:InvokeModel", "upstream_rights"), ("bedrock:CallWithBearerToken", "bedrock_token")],
)
def test_a_right_that_is_missing_is_known_through_the_function(action: str, cause: str) -> None:
    """What the function makes of AWS's refusal is read in its own words."""
    words = f"User: u is not authorized to perform: {action} on resource: r".encode()
    error = to_error(403, {"content-type": "application/json"}, b'{"Message":"%s"}' % words, "key")
    came = Exchange(status=error.status, pieces=[Piece(0, to_json(error.body()))])
    found = of_exchange(came)
    assert found
    assert found.cause == cause


def test_nothing_that_came_can_move_the_cursor() -> None:
    """Control characters of an answer are not printed, and long ones are cut."""
    row = report.row(Finding("x", "\x1b[2J\r\n" + "a" * 500))
    assert row.isprintable()
    assert len(row) < 160
    shown = report.causes([Finding("x", "", (Trouble("bug", "\x1b[2J"),))])
    assert all(line.isprintable() for line in shown.splitlines())


def test_a_visit_that_was_not_finished_is_no_yes() -> None:
    """A row that was left out counts against the URL, a warning does not."""
    good, skipped = Finding("a", ""), Finding("b", "", skipped=True)
    warned = Finding("c", "", (Trouble("slow_words"),))
    assert report.usable([good, warned])
    assert not report.usable([good, skipped])
    assert not report.usable([])


def test_the_failures_come_first() -> None:
    """Among the causes, what keeps an agent from the URL stands before what it can live with."""
    troubles = (Trouble("slow_words"), Trouble("bug", "x"))
    shown = report.causes([Finding("a", "", troubles)])
    assert shown.index("FAILED") < shown.index("warning")
