"""Why a model API refuses, where that is not a fault of one request: filters and wrong set-ups.

Codes and words: the providers' documentation of their errors, and public reports of what they and
their gateways send. Knows nothing of HTTP and nothing of what is done about it.
"""

from __future__ import annotations

import re
from enum import StrEnum

_WORDS_LIMIT_CHARS = 4000
_MODEL_STATUSES = {400, 403, 404, 422}


class Cause(StrEnum):
    """What a refusal is about; whatever is none of these is about the request itself."""

    FILTER = "filter"
    """A content filter does not like what was said, or what would be answered."""
    KEY = "key"
    """The key is wrong, or it is not known why it is refused."""
    RIGHTS = "rights"
    """The key is valid but may not do this."""
    CREDIT = "credit"
    """The account is empty, or not active."""
    MODEL = "model"
    """The API does not know the model."""
    ADDRESS = "address"
    """There is no such path: the base URL is wrong."""


_CODES = {
    Cause.FILTER: "content_filter content_filtered content_policy_violation content_policy "
    "content_moderation moderation_blocked responsible_ai_policy_violation data_inspection_failed "
    "sensitive_content_detected input_text_sensitive_content_detected "
    "output_text_sensitive_content_detected prohibited_content guardrail_intervened 1301",
    Cause.CREDIT: "insufficient_quota insufficient_balance insufficient_credits "
    "billing_not_active billing_hard_limit_reached 1113",
    Cause.MODEL: "model_not_found model_not_exist unknown_model invalid_model model_decommissioned "
    "deployment_not_found",
    Cause.KEY: "invalid_api_key api_key_invalid authentication_error permission_error "
    "permission_denied",
}
_BY_CODE = {
    code.replace("_", ""): cause for cause, codes in _CODES.items() for code in codes.split()
}
_BY_WORDS = {
    # Azure, DashScope, DeepSeek, LiteLLM, MiniMax, Moonshot, OpenAI, OpenRouter, xAI, Zhipu.
    Cause.FILTER: r"content management policy|content.?policy.?violation|content_filter"
    r"|inappropriate content|content exists risk|considered high risk|new_sensitive"
    r"|violat\w+ (our |the )?(usage|content) (guidelines|polic)|input was flagged"
    r"|data.?inspection.?failed|(unsafe|sensitive) content|不安全或敏感"
    r"|blocked by .{0,30}(safety|content|guardrail)",
    # Anthropic says it in a 400, xAI in a 403.
    Cause.CREDIT: r"credit balance is too low|insufficient (account )?(balance|credit|fund)"
    r"|(not|n't) have any credits|余额不足",
    Cause.MODEL: r"\bmodels?\b.{0,80}?(not found|(not|n't) exist|decommissioned)"
    r"|not a valid model|\b(invalid|unknown) model\b|no endpoints found"
    # Bedrock: a name of its other host, one that wants a profile, and one of another path.
    r"|model identifier is invalid|on-demand throughput isn|supported on this route",
    # AWS's identities and its model access; OpenAI's restricted keys.
    Cause.RIGHTS: r"not authorized to (perform|invoke)|model access is denied"
    r"|(not|n't) have (access|permissions?) to|insufficient permissions",
    # Gemini says it in a 400.
    Cause.KEY: r"api key (not valid|expired|is invalid)|(incorrect|invalid) api key",
}


def cause_of(
    status: int, *, code: str | None, kind: str | None, param: str | None, message: str
) -> Cause | None:
    """Return what a refusal is about; None for one that is about the request itself.

    `code`, `kind` (the error's type), `param` and `message` are as the API says them.
    """
    named = [_BY_CODE.get(re.sub(r"[\W_]", "", name or "").lower()) for name in (code, kind)]
    cause: Cause | None = next((one for one in named if one and one is not Cause.KEY), None)
    if cause is None and status != 429:  # A limit's words speak of quotas and of models.
        words = message[:_WORDS_LIMIT_CHARS]
        # Compiled at the first refusal, so that a cold start does not pay for it.
        found = (
            one for one, pattern in _BY_WORDS.items() if re.search(pattern, words, re.IGNORECASE)
        )
        cause = next(found, None)
        # A complaint about another field may name a model that is not missing.
        if cause is Cause.MODEL and (
            status not in _MODEL_STATUSES or param not in {None, "", "model"}
        ):
            cause = None
        if cause is Cause.RIGHTS and status not in {401, 403}:
            cause = None
    return cause or (Cause.KEY if Cause.KEY in named else _by_status(status, code, param))


def _by_status(status: int, code: str | None, param: str | None) -> Cause | None:
    if status == 402:
        return Cause.CREDIT
    if status in {401, 403}:
        return Cause.KEY
    names_something = bool(param) or (code or "").endswith("_not_found")
    if status == 405 or (status == 404 and not names_something):
        return Cause.ADDRESS
    return None
