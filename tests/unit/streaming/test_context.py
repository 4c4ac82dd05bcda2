"""The context object, compared with that of AWS's own runtime."""

from __future__ import annotations

import json
import time

import pytest
from awslambdaric.lambda_context import LambdaContext as TheirContext

from lambda_streaming.context import LambdaContext
from lambda_streaming.runtime_api import Invocation

CLIENT = (
    '{"client":{"installation_id":"i","app_title":"t"},"custom":{"k":"v\xc3\xbc"},"env":{"l":"de"}}'
)
INVOCATION = Invocation(
    event=b"{}",
    content_type="application/json",
    request_id="r-1",
    deadline_ms=0,
    function_arn="arn",
    trace_id="Root=1",
    client_context=CLIENT,
    cognito_identity='{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
    tenant_id="tenant",
    invocation_id=None,
)


def test_it_has_every_attribute_of_the_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context has every attribute that AWS's own runtime gives it."""
    for name in ("FUNCTION_NAME", "FUNCTION_VERSION", "FUNCTION_MEMORY_SIZE"):
        monkeypatch.setenv(f"AWS_LAMBDA_{name}", name)
    monkeypatch.setenv("AWS_LAMBDA_LOG_GROUP_NAME", "group")
    monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
    theirs = TheirContext("r-1", None, None, 0, "arn", "tenant")
    ours = LambdaContext(INVOCATION)
    for name, value in vars(theirs).items():
        if not name.startswith("_") and name not in ("client_context", "identity"):
            assert getattr(ours, name) == value


@pytest.mark.parametrize(
    "client",
    [
        '{"w3c":{"traceparent":"00-1-2-01","baggage":"a=1","other":"x","tracestate":7},"env":{}}',
        '{"w3c":"none","env":{}}',
        '{"env":{}}',
    ],
)
def test_the_w3c_trace_context_is_read_as_awss_runtime_reads_it(client: str) -> None:
    """Only its own fields are read, only if they are text, and they leave the client context."""
    theirs = TheirContext("r-1", json.loads(client), None, 0)
    assert LambdaContext(INVOCATION._replace(client_context=client)).w3c() == theirs.w3c()
    assert LambdaContext(INVOCATION._replace(client_context=None)).w3c() == {}


def test_the_trace_id_is_there_as_well() -> None:
    """The context has the trace id, which AWS's does not."""
    assert LambdaContext(INVOCATION).trace_id == "Root=1"


def test_client_and_identity_are_objects() -> None:
    """A mobile client's context and identity are read by attribute, as documented."""
    context = LambdaContext(INVOCATION)
    assert context.client_context
    assert context.client_context.client.installation_id == "i"
    assert context.client_context.client.app_package_name is None
    assert context.client_context.custom == {"k": "vü"}
    assert context.client_context.env == {"l": "de"}
    assert context.identity.cognito_identity_id == "id"
    assert context.identity.cognito_identity_pool_id == "pool"


def test_missing_client_and_identity_are_none() -> None:
    """Absent headers give None, and an identity without ids."""
    context = LambdaContext(INVOCATION._replace(client_context=None, cognito_identity=None))
    assert context.client_context is None
    assert context.identity.cognito_identity_id is None
    assert LambdaContext(INVOCATION._replace(client_context='{"custom":{}}')).client_context


def test_the_remaining_time_follows_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts down to the deadline and never goes below zero."""
    context = LambdaContext(INVOCATION._replace(deadline_ms=10_000))
    monkeypatch.setattr(time, "time", lambda: 4.0)
    assert context.get_remaining_time_in_millis() == 6_000
    monkeypatch.setattr(time, "time", lambda: 11.0)
    assert context.get_remaining_time_in_millis() == 0


def test_it_can_be_logged_and_can_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Its repr shows the public fields, and `log` writes to the function's log."""
    context = LambdaContext(INVOCATION)
    context.log("hello")
    assert capsys.readouterr().out == "hello\n"
    assert "aws_request_id='r-1'" in repr(context)
    assert "_deadline" not in repr(context)
