"""Causes: which refusals are about a filter or a misconfiguration, in the words of many APIs."""

from __future__ import annotations

from typing import Any

import pytest

from completions.causes import Cause, cause_of

REFUSALS: dict[str, tuple[Cause | None, int, dict[str, Any]]] = {
    # Filters.
    "azure": (Cause.FILTER, 400, {"code": "content_filter", "param": "prompt"}),
    "azure inside": (Cause.FILTER, 400, {"code": "ResponsibleAIPolicyViolation"}),
    "openai": (Cause.FILTER, 400, {"code": "content_policy_violation"}),
    "openai reasoning": (
        Cause.FILTER,
        400,
        {"code": "invalid_prompt", "message": "Flagged as violating our usage policy."},
    ),
    "deepseek": (Cause.FILTER, 400, {"message": "Content Exists Risk"}),
    "dashscope": (Cause.FILTER, 400, {"code": "data_inspection_failed"}),
    "dashscope in words": (
        Cause.FILTER,
        400,
        {"message": "<400> InternalError.Algo.DataInspectionFailed: Input data is odd."},
    ),
    "moonshot": (Cause.FILTER, 400, {"kind": "content_filter"}),
    "zhipu": (Cause.FILTER, 400, {"code": "1301"}),
    "volcengine": (Cause.FILTER, 400, {"code": "InputTextSensitiveContentDetected"}),
    "minimax": (Cause.FILTER, 422, {"message": "input new_sensitive (1026)"}),
    "openrouter": (Cause.FILTER, 403, {"message": "It is moderated, and your input was flagged."}),
    "xai": (Cause.FILTER, 403, {"message": "Content violates usage guidelines."}),
    "litellm": (Cause.FILTER, 400, {"message": "litellm.ContentPolicyViolationError: No."}),
    # Keys.
    "a 401": (Cause.KEY, 401, {}),
    "a 403": (Cause.KEY, 403, {"kind": "permission_error"}),
    "gemini's key": (Cause.KEY, 400, {"message": "API key not valid. Please pass another."}),
    "a key in a stream": (Cause.KEY, 502, {"code": "invalid_api_key"}),
    # Rights.
    "bedrock's role": (
        Cause.RIGHTS,
        403,
        {"message": "User: arn:x is not authorized to perform: bedrock:InvokeModel on resource: y"},
    ),
    "bedrock's access": (
        Cause.RIGHTS,
        403,
        {"message": "You don't have access to the model with the specified model ID."},
    ),
    "openai's restricted key": (
        Cause.RIGHTS,
        401,
        {"message": "You have insufficient permissions for this operation. Missing scopes: x"},
    ),
    # Accounts.
    "a 402": (Cause.CREDIT, 402, {"code": "invalid_request_error"}),
    "openai's quota": (Cause.CREDIT, 429, {"code": "insufficient_quota"}),
    "anthropic's credit": (Cause.CREDIT, 400, {"message": "Your credit balance is too low."}),
    "xai's credit": (Cause.CREDIT, 403, {"message": "Your team doesn't have any credits yet."}),
    # Models.
    "openai's model": (Cause.MODEL, 404, {"code": "model_not_found"}),
    "a model without access": (Cause.MODEL, 403, {"code": "model_not_found"}),
    "vllm's model": (Cause.MODEL, 404, {"message": "The model `m` does not exist."}),
    "ollama's model": (Cause.MODEL, 404, {"message": 'model "m" not found, try pulling it'}),
    "deepseek's model": (Cause.MODEL, 400, {"message": "Model Not Exist"}),
    "mistral's model": (Cause.MODEL, 400, {"message": "Invalid model: m", "code": "1500"}),
    "openrouter's model": (Cause.MODEL, 400, {"message": "m is not a valid model ID"}),
    "groq's old model": (Cause.MODEL, 400, {"message": "The model `m` has been decommissioned."}),
    "gemini's model": (Cause.MODEL, 404, {"message": "models/m is not found for API v1beta."}),
    "bedrock's name": (Cause.MODEL, 400, {"message": "The provided model identifier is invalid."}),
    "bedrock's profile": (
        Cause.MODEL,
        400,
        {"message": "Invocation of model ID m with on-demand throughput isn\u2019t supported."},
    ),
    "bedrock's other path": (
        Cause.MODEL,
        400,
        {"message": "The model 'm' isn't supported on this route."},
    ),
    "a model that is not there, or forbidden": (
        Cause.MODEL,
        403,
        {"message": "The model `m` does not exist or you do not have access to it."},
    ),
    # Addresses.
    "a bare 404": (Cause.ADDRESS, 404, {}),
    "fastapi": (Cause.ADDRESS, 404, {"message": "Not Found"}),
    "the wrong method": (Cause.ADDRESS, 405, {}),
    # The request's own, or temporary.
    "a bare 400": (None, 400, {"message": "Bad Request"}),
    "a field": (None, 400, {"param": "temperature", "message": "Not supported with this model."}),
    "too long": (
        None,
        400,
        {"code": "context_length_exceeded", "param": "messages", "message": "It is too long."},
    ),
    "a chain": (None, 404, {"code": "previous_response_not_found"}),
    "an item": (None, 404, {"param": "input", "message": "Item 'msg_1' not found."}),
    "another field's model": (None, 400, {"param": "voice", "message": "model v not found"}),
    "a limit": (None, 429, {"message": "You exceeded your current quota for the model."}),
    "a limit that names models": (None, 429, {"message": "No capacity: model not found hot."}),
    "a fault": (None, 500, {"message": "The model is overloaded."}),
    "a fault that names models": (None, 503, {"message": "model m not found on this node"}),
}


@pytest.mark.parametrize(("cause", "status", "told"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_cause_is_recognised_in_any_words(
    cause: Cause | None, status: int, told: dict[str, Any]
) -> None:
    """Codes, types and words name filters and misconfigurations; other refusals have no cause."""
    nothing = {"code": None, "kind": None, "param": None, "message": ""}
    assert cause_of(status, **{**nothing, **told}) is cause
