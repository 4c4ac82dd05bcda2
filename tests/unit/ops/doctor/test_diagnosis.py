"""The cause of an answer that is not a turn."""

from __future__ import annotations

import pytest
from pydantic_core import to_json

from completions import errors
from completions.upstream.refusals import to_error
from ops.doctor.diagnosis import of_exchange
from ops.doctor.wire import Exchange, Piece


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
    """Every error of the function has its own cause."""
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
def test_a_version_without_its_snapshot_is_recognised(came: Exchange) -> None:
    """A version that lost its snapshot after two weeks is recognised, with any status."""
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
    b'{"message":"The security token included in the request is expired"}': (403, "upstream_auth"),
    b'{"Message":"Bearer Token has expired"}': (403, "upstream_auth"),
    b'{"message":"Too many requests, please wait before trying again."}': (429, "model_limited"),
    b'{"message":"Model is not ready for inference."}': (429, "model_down"),
    b'{"message":"Bedrock is unable to process your request."}': (503, "model_down"),
    b'{"Message":"Forbidden"}': (403, "aws_forbidden"),
    b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}': (
        429,
        "throttled",
    ),
}


@pytest.mark.parametrize("body", BEDROCKS, ids=lambda body: body[:60].decode())
def test_bedrocks_words_are_known_and_no_others(body: bytes) -> None:
    """Bedrock has no error codes, so its words are matched; Lambda's words mean Lambda."""
    status, cause = BEDROCKS[body]
    found = of_exchange(Exchange(status=status, pieces=[Piece(0, body)]))
    assert found
    assert found.cause == cause


@pytest.mark.parametrize(
    ("action", "cause"),
    [("bedrock:InvokeModel", "upstream_rights"), ("bedrock:CallWithBearerToken", "bedrock_token")],
)
def test_a_right_that_is_missing_is_known_through_the_function(action: str, cause: str) -> None:
    """A missing right is recognised in the function's own words for AWS's refusal."""
    words = f"User: u is not authorized to perform: {action} on resource: r".encode()
    error = to_error(403, {"content-type": "application/json"}, b'{"Message":"%s"}' % words, "key")
    came = Exchange(status=error.status, pieces=[Piece(0, to_json(error.body()))])
    found = of_exchange(came)
    assert found
    assert found.cause == cause
