"""Error objects in every shape that APIs use, in a refusal and in mid-stream."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.error_objects import (
    DEPTH_LIMIT,
    TEXTS_LIMIT,
    read_error,
    upstream_failure,
)
from completions.errors import UpstreamRefused

DETAIL = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra", "input": 2}]
INNER = '{"error": {"message": "Too odd.", "param": "seed", "code": "unsupported_parameter"}}'
PYDANTIC = "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra'}]"


@pytest.mark.parametrize(
    ("value", "message", "fields"),
    [
        ({"error": {"message": "Too odd.", "param": "seed"}}, "Too odd.", ["seed"]),
        ([{"error": {"code": 400, "message": "Too odd."}}], "Too odd.", []),
        ({"type": "error", "error": {"type": "x", "message": "Too odd."}}, "Too odd.", []),
        ({"message": "Too odd.", "param": "validation_error"}, "Too odd.", []),
        ({"message": {"detail": DETAIL}, "param": None}, "body.seed: Extra", ["seed"]),
        ({"detail": DETAIL}, "body.seed: Extra", ["seed"]),
        ({"message": '{"detail": [{"loc": ["body", 0, "x"]}]}'}, "body.0.x: None", ["0.x"]),
        (
            {"error": {"message": "No.", "code": 400, "metadata": {"raw": INNER}}},
            "No.\nToo odd.",
            ["seed"],
        ),
        ({"object": "error", "message": PYDANTIC, "code": 400}, PYDANTIC, ["seed"]),
        ({"code": "x", "error": "Too odd."}, "Too odd.", []),
        ({"error": {"details": [{"fieldViolations": [{"field": "seed"}]}]}}, "", ["seed"]),
        ({"Message": "Too odd."}, "Too odd.", []),
        ({"detail": "Too odd."}, "Too odd.", []),
        ("Too odd.", "Too odd.", []),
        ({"error": {"message": "Too odd.", "param": "body.seed"}}, "Too odd.", ["seed"]),
        ({"error": {"message": "Too odd.", "param": ""}}, "Too odd.", []),
        (None, "", []),
        (42, "", []),
        ({"error": None}, "", []),
    ],
    ids=str,
)
def test_a_refusal_is_read_in_every_shape(value: Any, message: str, fields: list[str]) -> None:
    """Its texts are joined into the message, and the fields it blames are listed."""
    error = read_error(value)
    assert (error.message, error.fields) == (message, fields)


def test_a_proxys_error_yields_the_providers_code_and_field() -> None:
    """The innermost code and field are those of the API that refused."""
    proxy = {
        "message": "No.",
        "code": "upstream_error",
        "type": "proxy",
        "metadata": {"raw": INNER},
    }
    error = read_error({"error": proxy})
    assert (error.code, error.param, error.type) == ("unsupported_parameter", "seed", "proxy")


def test_a_refusal_is_read_within_bounds() -> None:
    """Depth and number of texts are limited, so reading takes no time."""
    deep: Any = "Too odd."
    for _ in range(DEPTH_LIMIT + 1):
        deep = {"error": deep}
    assert read_error(deep).message == ""
    assert len(read_error([{"message": str(n)} for n in range(1000)]).texts) == TEXTS_LIMIT


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "Slow down.", "code": "rate_limit_exceeded"}, 429),
        ({"message": "No money.", "code": "insufficient_quota"}, 429),
        ({"message": "Too long.", "code": "context_length_exceeded"}, 400),
        ({"message": "Broken.", "type": "server_error", "code": None}, 502),
        ({"message": "Broken.", "code": "server_error"}, 500),
        ({"message": "Busy.", "code": 503}, 503),
        ({"message": "Odd.", "code": 200}, 502),
    ],
    ids=repr,
)
def test_an_error_object_keeps_its_message_and_gets_a_status(
    error: dict[str, Any], status: int
) -> None:
    """The status is the one that OpenAI's API has for its code, or the code itself."""
    failure = upstream_failure(error)
    assert isinstance(failure, UpstreamRefused)
    assert (failure.message, failure.status) == (error["message"], status)


def test_an_error_object_keeps_its_type_code_and_param() -> None:
    """They tell a program what went wrong."""
    error = {"message": "m", "type": "t", "code": "c", "param": "p"}
    assert upstream_failure(error).body()["error"] == error


def test_an_error_without_a_message_gets_one() -> None:
    """The message says at least that the upstream failed."""
    assert upstream_failure({}).message == "The upstream failed in mid-answer."


@pytest.mark.parametrize("error", ["It broke.", ["?"], 5])
def test_an_error_that_is_no_object_is_a_quoted_failure(error: Any) -> None:
    """It is marked as a quotation, because it may hold anything."""
    failure = upstream_failure(error)
    assert (failure.status, failure.quotes) == (502, True)
    assert str(error) in failure.message
