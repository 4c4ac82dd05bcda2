"""Tell the owner when a model API refuses because of how this deployment is set up.

Callers hear words whatever is refused, so without this nobody would find out. Knows causes and
remedies, in the names of the template and of make, but no requests.
"""

from __future__ import annotations

from completions.causes import Cause
from completions.errors import CompletionsError
from completions.observability import count, identifier, log, printable
from completions.settings import Candidate

_HINTS = {
    Cause.KEY: "The API refuses the key: store one that may use this model with "
    "`make upstream-key`; for `make run` it is {key_variable}=...",
    Cause.RIGHTS: "The key is valid but may not use this model: grant it access at the "
    "provider. On Bedrock put the model into BedrockModelArns, and see in the console, in the "
    "Region of {name}BaseUrl, whether the account has access to it.",
    Cause.CREDIT: "The key is good, its account is empty or not active: see the billing page of "
    "the provider, or store another account's key with `make upstream-key`.",
    Cause.MODEL: "The API has no such model, or not for this key: set {name}Model to one that it "
    "lists; without that parameter the model is the one that the voice platform names.",
    Cause.ADDRESS: "The API has no such path: {name}BaseUrl ends where /chat/completions begins, "
    "for most in /v1; for `make run` it is UPSTREAM=...",
}


def tell_owner(candidate: Candidate, error: CompletionsError) -> None:
    """Log and count a refusal that is not the request's fault; ignore any other error."""
    hint = _HINTS.get(error.cause) if error.cause else None
    if hint is None or not candidate.base_url:
        return  # An agent's refusals were reported when its question failed.
    count("SetupFailures")
    log.error(
        "upstream.misconfigured",
        candidate=candidate.key,
        cause=error.cause,
        code=identifier(error.code),
        model=printable(error.model) or None,
        hint=hint.format(
            name=candidate.key.capitalize(), key_variable=f"{candidate.key.upper()}_KEY"
        ),
    )
