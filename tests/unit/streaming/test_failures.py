"""The shapes in which failures are reported."""

from __future__ import annotations

import pytest

from lambda_streaming.failures import PlatformError, of_handler, of_stream


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """Raise the error and return it, with its stack."""
    with pytest.raises(type(error)) as caught:
        fail(error, cause)
    return caught.value


def test_a_handlers_failure_has_the_ordinary_shape() -> None:
    """Type, message, request and stack, as AWS's own runtime reports them."""
    failure = of_handler(raised(ValueError("bad")), "r-1")
    assert failure.type == "Function.ValueError"
    assert failure.body["errorType"] == "ValueError"
    assert failure.body["errorMessage"] == "bad"
    assert failure.body["requestId"] == "r-1"
    assert "in fail" in failure.body["stackTrace"][-1]


def test_a_failure_that_lambda_has_a_name_for_keeps_it() -> None:
    """A name like Runtime.ImportModuleError is the same in header and body."""
    failure = of_handler(PlatformError("Runtime.HandlerNotFound", "no"))
    assert (failure.type, failure.body["errorType"]) == ("Runtime.HandlerNotFound",) * 2


def test_a_wrapped_failure_shows_where_its_cause_arose() -> None:
    """The stack is the function's, not that of the code that wrapped the error."""
    namespace: dict[str, object] = {}
    with pytest.raises(ZeroDivisionError) as cause:
        exec(compile("def guilty(): 1 / 0\nguilty()", "guilty.py", "exec"), namespace)
    error = raised(PlatformError("Runtime.ImportModuleError", "no"), cause.value)
    assert "guilty.py" in of_handler(error).body["stackTrace"][-1]


def test_a_half_sent_answer_has_no_message_and_no_stack() -> None:
    """The caller learns the request id instead, since an exception's message may be secret."""
    failure = of_stream(raised(ValueError("the key is sk-1")), "r-1")
    assert failure.type == "Function.ValueError"
    assert failure.body == {
        "errorType": "ValueError",
        "errorMessage": "The response broke off. The log of request r-1 says why.",
        "stackTrace": [],
    }
