"""What keeps the function, its keys and its models from answering."""

from __future__ import annotations

from collections.abc import Mapping

from ops.doctor.causes.cause import LOG, Cause

SERVING: Mapping[str, Cause] = {
    # -- the function itself
    "crashed": Cause(
        "The function's process died or could not start: a failed import, a wrong setting, no "
        "memory, or its timeout.",
        f"Read the first error in {LOG}: init errors name the variable or the module.",
        dead_end=True,
    ),
    "bug": Cause(
        "The function answered with an error of its own.",
        f"Look for `request.crashed` or `turn.crashed` in {LOG}; `make build` and deploy again.",
    ),
    "proxy_error": Cause(
        "A server in front of the function could not reach it, or lost patience.",
        "Try the output `ServerUrl` without it.",
    ),
    "dict_as_text": Cause(
        "The URL streams, the function does not: InvokeMode is RESPONSE_STREAM, but the streaming "
        "layer is not attached, so Mangum's dict arrives as text.",
        "AWS_LAMBDA_EXEC_WRAPPER must be /opt/bootstrap and the layer in `Layers`; the parameter "
        "`InvokeMode` sets both: deploy again, and look for a version published before.",
        dead_end=True,
    ),
    "prelude_as_text": Cause(
        "The function streams, the URL does not: the streaming layer is attached, but InvokeMode "
        "is BUFFERED (or something invokes the function without its URL), so the stream's prelude "
        "arrives as text.",
        "The parameter `InvokeMode` sets both: deploy again, and change it nowhere else.",
        dead_end=True,
    ),
    # -- keys and models behind it
    "no_snapshot": Cause(
        "The version's snapshot is not ready: after 14 days without a call Lambda makes it "
        "inactive, and the first call makes it active again.",
        "Wait some minutes and ask again. `KeepSnapshot=On` keeps it ready.",
        dead_end=True,
    ),
    "upstream_auth": Cause(
        "The model API refuses the deployment's own key: not yet set, mistyped, revoked, or "
        "without rights to this model. On Bedrock: a key of another Region than the base URL's.",
        "`make upstream-key`, then wait KeyTtlS seconds. On Bedrock remove the stored key, and the "
        "role makes one.",
        dead_end=True,
    ),
    "upstream_rights": Cause(
        "The key is valid but may not use this model. On Bedrock: the role has "
        "no right to it, the account has no access to it, or an organisation's policy forbids it.",
        "Grant the key access at the provider. On Bedrock put the model's ARN into "
        "`BedrockModelArns` (of a profile also the model's in each Region of it), and look at "
        "model access in the console, in the base URL's Region.",
        dead_end=True,
    ),
    "bedrock_token": Cause(
        "The role may not make keys for Bedrock: `BedrockModelArns` is empty, or an organisation's "
        "policy denies bedrock:CallWithBearerToken.",
        "Set `BedrockModelArns` and deploy; against the policy only its owner can help, or a "
        "Bedrock API key of your own does (`make upstream-key`).",
        dead_end=True,
    ),
    "bedrock_name": Cause(
        "Bedrock does not know the model by this name: bedrock-runtime wants a version in it "
        "(openai.gpt-oss-20b-1:0), bedrock-mantle none (openai.gpt-oss-20b).",
        "Set `UpstreamModel` to a name of that host; `GET …/models` of bedrock-mantle lists its "
        "own.",
        dead_end=True,
    ),
    "bedrock_profile": Cause(
        "Bedrock serves this model only through an inference profile.",
        "Put the set of Regions before the name (us., eu., apac., global.) in `UpstreamModel`, and "
        "the profile's ARN into `BedrockModelArns`.",
        dead_end=True,
    ),
    "bedrock_path": Cause(
        "Bedrock serves this model on another path.",
        "On bedrock-mantle some models are under /openai/v1 and others under /v1: change "
        "`UpstreamBaseUrl`. Some answer the Responses API only, which is not asked.",
        dead_end=True,
    ),
    "key_unavailable": Cause(
        "A key cannot be read from Secrets Manager: the upstream secret has no value yet, or the "
        "role has no right to it.",
        "`make upstream-key`; or see which in the log events `key.unavailable` and `key.missing`.",
        dead_end=True,
    ),
    "model_unknown": Cause(
        "The model API does not know the requested model, or `AllowedModels` does not include it.",
        "Set `UpstreamModel`, or ask for one that is served: `make doctor MODEL=…`. On Bedrock it "
        "may be served in another Region than the base URL's.",
        dead_end=True,
    ),
    "model_path": Cause(
        "The model API has no such path.",
        "`UpstreamBaseUrl` ends where /chat/completions begins, for most in /v1.",
        dead_end=True,
    ),
    "model_down": Cause(
        "The model API cannot be reached, or fails.",
        "Check `UpstreamBaseUrl` and the provider's status page; `FallbackBaseUrl` names a second "
        "one. The log event `turn.failed` has the reason.",
    ),
    "model_slow": Cause(
        "The model said nothing in time.",
        "Use a faster model in `UpstreamModel`, or a second one in `FallbackBaseUrl`; "
        "`TurnBudgetMs` limits the wait.",
    ),
    "model_limited": Cause(
        "The model API's rate limit or credit is used up.",
        "Look at the provider's limits and billing; `FallbackBaseUrl` names a second one.",
    ),
    "small_window": Cause(
        "The server took the prompt, but the model did not answer it: that many tokens do not fit, "
        "or took too long.",
        "Use a model with a larger window if the agent's prompts are that long.",
        warning=True,
    ),
}
