"""The medicine chest: each thing that can be wrong, its probable cause, and the remedy.

In the words of this deployment: `template.yaml`'s parameters, make's targets, the log's events.
`of_response` reads one from a status and a body that is no turn. Knows nothing of when it is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.doctor.dialects import Trouble
from ops.doctor.wire import Exchange


@dataclass(frozen=True, slots=True)
class Cause:
    """Why, and what to do.

    `warning`: a voice agent can live with it. `dead_end`: whatever is asked next meets the same.
    """

    why: str
    remedy: str
    warning: bool = False
    dead_end: bool = False


_LOG = "`sam logs` or the log group that the output `LogGroup` names"
_DIALECT = "Is this our function? Compare with the output `ServerUrl`; if it is, report a bug."

CAUSES: Mapping[str, Cause] = {
    # -- on the way there
    "dns": Cause(
        "No such host: the URL is mistyped, or its stack was deleted.",
        "Copy the output `ServerUrl` of the stack.",
        dead_end=True,
    ),
    "refused": Cause(
        "Nothing listens on that port.",
        "On this machine: is `make run` running, on this PORT? Elsewhere: is it https?",
        dead_end=True,
    ),
    "unreachable": Cause(
        "No way to that host from here: a firewall, a VPN, a proxy, or no network.",
        "Try from another network; this doctor uses no proxy of the environment.",
        dead_end=True,
    ),
    "tls_certificate": Cause(
        "The certificate does not fit: a proxy that reads along, a wrong host, or a wrong clock.",
        "Function URLs have a valid one. Check host and clock; on Python from python.org for "
        "macOS run its `Install Certificates.command`.",
        dead_end=True,
    ),
    "tls": Cause(
        "No TLS could be spoken: the port speaks plain HTTP, or something in between cut it.",
        "`make run` is http://, a Function URL https:// on port 443.",
        dead_end=True,
    ),
    "timeout": Cause(
        "Nothing came in time: the function hangs, its environment starts too slowly, or "
        "something in between swallows the answer.",
        f"Look for timeouts in {_LOG}. A model that hangs is ended by TurnBudgetMs, so it is not "
        "the model, unless TurnBudgetMs is 0.",
        dead_end=True,
    ),
    "closed": Cause(
        "The connection was closed without an answer: a process that dies, or a proxy.",
        f"Look at {_LOG}, and for a proxy in front.",
    ),
    "not_http": Cause(
        "What answers there does not speak HTTP/1.1.",
        "Check port and scheme: a TLS port asked without TLS answers so.",
        dead_end=True,
    ),
    "cut": Cause(
        "The answer was cut off: the function timed out or crashed in mid-stream, or a proxy "
        "ended it.",
        f"Look at {_LOG} for `Task timed out` or a trace.",
    ),
    "endless": Cause("The answer does not end.", "Something else than our function answers there."),
    # -- before the model is asked
    "caller_key": Cause(
        "This is not the caller key of this deployment: mistyped, cut short, of another stage, or "
        "rotated twice.",
        "Take what the output `CallerKeyCommand` prints (`make run`: local-caller-key). The log "
        "event `auth.refused` tells the length of the key that came.",
        dead_end=True,
    ),
    "foreign_401": Cause(
        "Something in front of the function asks for a login of its own.",
        "Function URLs do not: look for a proxy, an API gateway or a web firewall.",
        dead_end=True,
    ),
    "aws_forbidden": Cause(
        "AWS refuses before the function is asked: the URL's AuthType is not NONE, one of the two "
        "permissions that a public URL needs (lambda:InvokeFunctionUrl, lambda:InvokeFunction) is "
        "missing, or an organisation's policy (SCP) forbids public URLs.",
        "`make deploy` again writes both permissions; against an SCP only its owner can help.",
        dead_end=True,
    ),
    "foreign_403": Cause(
        "Something in front of the function refuses: a web firewall, a proxy, a private network.",
        "Let the voice platform's addresses through.",
        dead_end=True,
    ),
    "path_unknown": Cause(
        "Another server than ours, or an exact path where ours takes any.",
        "Paste the base URL that ends in /v1, and nothing behind it; is this the output "
        "`ServerUrl`?",
    ),
    "open_door": Cause(
        "No key, or a wrong one, gets an answer: anybody can spend your model's money.",
        "Is this our function? It refuses both. Look for a proxy that adds a key.",
    ),
    "too_large": Cause(
        "The request was refused for its size: a proxy in front has a lower limit than Lambda's "
        "6 MB.",
        "Raise the proxy's limit (nginx: client_max_body_size).",
    ),
    "throttled": Cause(
        "AWS let no more turns in: ReservedConcurrency or the account's limit is reached (0 "
        "closes the URL).",
        "Raise `ReservedConcurrency` in samconfig.toml, or ask AWS for more concurrency.",
    ),
    "bad_request": Cause(
        "The server refuses a request as voice platforms send it.",
        "The answer's `param` names the field; if the refusal is the model API's: "
        "`UpstreamExtraBody`, `UpstreamModel`.",
    ),
    "shape_refused": Cause(
        "The model refuses a history of this shape. Platforms send the history again, so each "
        "later turn of the call fails as well. Our function mends it; another server does not, or "
        "the model says it in words that ours does not know.",
        "Point the agent at the function and the function at this server (`UpstreamBaseUrl`); if "
        "this is the function, report the words of the refusal.",
    ),
    "redirected": Cause(
        "The URL leads elsewhere, and voice platforms do not follow.",
        "Paste the address at the end of it; often it is https:// in place of http://.",
        dead_end=True,
    ),
    # -- the function itself
    "crashed": Cause(
        "The function's process died or could not start: a failed import, a wrong setting, no "
        "memory, or its timeout.",
        f"Read the first error in {_LOG}: init errors name the variable or the module.",
        dead_end=True,
    ),
    "bug": Cause(
        "The function answered with an error of its own.",
        f"Look for `request.crashed` or `turn.crashed` in {_LOG}; `make build` and deploy again.",
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
        "inactive, and the first call starts its way back.",
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
        "The model API knows the key, and the key may not ask this model. On Bedrock: the role has "
        "no right to it, the account has no access to it, or an organisation's policy forbids it.",
        "Give the key the right at the provider. On Bedrock put the model's ARN into "
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
        "Bedrock serves this model only by an inference profile.",
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
        "`make upstream-key`; else the log events `key.unavailable` and `key.missing` tell which.",
        dead_end=True,
    ),
    "model_unknown": Cause(
        "The model API does not know the model that was asked for, or `AllowedModels` leaves it "
        "out.",
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
        "A faster model in `UpstreamModel`, a second one in `FallbackBaseUrl`; `TurnBudgetMs` "
        "bounds the wait.",
    ),
    "model_limited": Cause(
        "The model API's rate limit or credit is used up.",
        "Look at the provider's limits and billing; `FallbackBaseUrl` names a second one.",
    ),
    "small_window": Cause(
        "The server took the prompt, but the model did not answer it: that many tokens do not fit, "
        "or took too long.",
        "A model with a larger window, if the agent's prompts are that long.",
        warning=True,
    ),
    # -- the stream
    "wrong_type": Cause(
        "The answer is no event stream: the server ignores `stream: true`, or a page of something "
        "else answers.",
        "Look at what came. " + _DIALECT,
    ),
    "not_sse": Cause(
        "A line of it belongs to no event stream: something writes into it.", _DIALECT
    ),
    "empty_stream": Cause(
        "A 200 without a single event: the function ended without a word, or a proxy dropped the "
        "body. Platforms end the call on it.",
        f"Look at {_LOG}. " + _DIALECT,
    ),
    "silent": Cause(
        "A stream without words and without a tool call: voice platforms end the call on it.",
        _DIALECT,
    ),
    "no_terminator": Cause(
        "The last event is not `data: [DONE]`: strict clients wait on, or take it for a cut. The "
        "function died, its answer was cut, or this is another server.",
        f"Look at {_LOG}. " + _DIALECT,
    ),
    "after_terminator": Cause("Something comes behind the end.", _DIALECT),
    "unfinished_event": Cause(
        "The last event lacks its blank line, so clients never see it: the answer was cut.",
        f"Look at {_LOG} for a timeout.",
    ),
    "bad_json": Cause("An event holds no JSON: something writes into the stream.", _DIALECT),
    "glued_json": Cause(
        "Two JSON values stand in one event: a proxy or a server glues events together.", _DIALECT
    ),
    "not_the_dialect": Cause("Events of another shape than this API's.", _DIALECT),
    "changing_identity": Cause(
        "One answer under several identities: clients take it for two.", _DIALECT
    ),
    "no_role": Cause("The opening is missing: strict clients refuse what follows.", _DIALECT),
    "odd_role": Cause("The role does not come first, and once.", _DIALECT),
    "no_finish": Cause("Nothing says why the answer ended: it was cut.", _DIALECT),
    "after_finish": Cause("Something is said behind the finish; clients drop it.", _DIALECT),
    "bad_call": Cause(
        "A tool call that no platform can make: no id, no name, or arguments that are no JSON.",
        _DIALECT,
    ),
    "thinks_aloud": Cause(
        "The model's thinking is read to the caller.",
        "Turn it off at the model: `UpstreamExtraBody`.",
    ),
    "error_frame": Cause(
        "The model failed in mid-answer.", "The log event `turn.failed` has code and reason."
    ),
    "failure_sentence": Cause(
        "No model answered, and the caller hears an apology of ours.",
        "The log event `turn.failed` has code and reason; so has the cause told beside this one.",
    ),
    "declined": Cause(
        "The model's content filter withheld its answer, and the caller hears a sentence of ours.",
        "Look at the provider's filter settings: these requests are harmless.",
    ),
    "cut_answer": Cause(
        "The model's answer broke off, and ours went on.",
        "Rarely, it is the network. Often: another model, or `StallTimeoutMs`.",
        warning=True,
    ),
    # -- what it feels like
    "late_words": Cause(
        "The first words came after the platform has lost patience, twice: it asks again and "
        "again, and then ends the call.",
        "A faster model, `BufferWordsAfterMs` below the platform's cascade timeout, streaming.",
    ),
    "late_once": Cause(
        "The first words came too late once; asked again, as platforms do, in time.",
        "A start without snapshot (`SnapStart`), an answer in one lump, or a slow model.",
        warning=True,
    ),
    "slow_words": Cause(
        "More than two seconds of silence.",
        "`BufferWordsAfterMs` (0 is off) fills it; a faster model ends it.",
        warning=True,
    ),
    "buffer_words": Cause(
        "The first word was late (a slow model, or a start), so words of ours were spoken before.",
        "None, that is what they are for; if it happens on most turns, take a faster model.",
        warning=True,
    ),
    "no_call": Cause(
        "The model talked where it was expected to call the tool; small models do.",
        "Nothing, if the agent has no tools; else a better model.",
        warning=True,
    ),
    "lump": Cause(
        "The whole answer comes at once, when it is complete: buffer words are of no use, and "
        "every answer begins as late as it ends. InvokeMode is BUFFERED, or a proxy in front "
        "collects the answer.",
        "`InvokeMode` = RESPONSE_STREAM in samconfig.toml, then `make deploy`; in a proxy, turn "
        "buffering off (nginx: proxy_buffering off).",
        warning=True,
    ),
    "plain_http": Cause(
        "The caller key goes over the network readable by all.", "Use https://.", warning=True
    ),
}

_BY_CODE = {
    "invalid_api_key": "caller_key",
    "upstream_auth": "upstream_auth",
    "key_unavailable": "key_unavailable",
    "upstream_unavailable": "model_down",
    "upstream_timeout": "model_slow",
    "invalid_tool_call": "model_down",
    "internal_error": "bug",
    "not_found": "path_unknown",
    "request_too_large": "too_large",
    "invalid_request": "bad_request",
    "model_not_found": "model_unknown",
    "upstream_402": "model_limited",
    "insufficient_quota": "model_limited",
    "upstream_404": "model_path",
}
"""`errors.py` of the function, and OpenAI's for a model that does not exist."""


_BY_WORDS = (
    (r"not authorized to perform: bedrock[\w-]*:CallWithBearerToken", "bedrock_token"),
    (r"\(403, bedrock[\w-]*:CallWithBearerToken\)", "bedrock_token"),
    (r"which may not ask this model|not authorized to perform: bedrock", "upstream_rights"),
    (r"have access to the model|model access is denied", "upstream_rights"),
    (r"make sure your API Key is valid|invalid bearer token", "upstream_auth"),
    (r"model identifier is invalid", "bedrock_name"),
    (r"on-demand throughput isn", "bedrock_profile"),
    (r"supported on this route", "bedrock_path"),
    (r"\bmodel\b.{0,80} does not exist", "model_unknown"),
)
"""What a model API says of a set-up, in its own words or in the function's: Bedrock's errors have
no codes (as its users report them, and the Bedrock user guide, "Troubleshooting")."""

_LAMBDA_FAILED = b"internal server error"
"""A Function URL's whole body when its function failed before it answered."""


def of_exchange(came: Exchange) -> Trouble | None:
    """Return what is wrong with an answer to a turn; None if it is a stream to be read.

    A stream that was cut is read all the same: the caller has heard what came.
    """
    if came.trouble and not came.body:
        return Trouble(came.trouble, came.detail)
    if came.status != 200:
        return of_status(came)
    if found := of_text(came):
        return found
    body = came.body
    kind = came.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        return Trouble("wrong_type", f"{kind or 'no content-type'}: {_shown(body)}")
    return None


def of_text(came: Exchange) -> Trouble | None:
    """Return what was meant for Lambda and reached the caller: URL and layer do not fit."""
    body = came.body
    if body.startswith(b"{") and b"\0" * 8 in body:
        return Trouble("prelude_as_text", _shown(body))
    if "statusCode" in _object(body):
        return Trouble("dict_as_text", _shown(body))
    return None


def refined(trouble: Trouble) -> Trouble:
    """Return an error event's own cause, where its code tells one."""
    if trouble.cause == "error_frame":
        return Trouble(
            _BY_CODE.get(trouble.detail.partition(":")[0], "error_frame"), trouble.detail
        )
    return trouble


def is_error_object(came: Exchange) -> bool:
    """Return True if the body is OpenAI's error object, so that it is no proxy's."""
    return isinstance(_object(came.body).get("error"), Mapping)


def of_status(came: Exchange) -> Trouble:
    """Return the cause of an answer by status, read from the error that it carries."""
    status = came.status
    error = _object(came.body).get("error")
    code, message = "", ""
    if isinstance(error, Mapping):
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
    detail = f"{status} {code}: {message}"[:200] if error else f"{status} {_shown(came.body)}"
    aws = came.headers.get("x-amzn-errortype", "")
    if aws.startswith("SnapStart") or b"SnapStart" in came.body[:200]:
        return Trouble("no_snapshot", detail)
    body = _object(came.body)
    said = message or str(body.get("Message") or body.get("message") or "")
    for pattern, cause in _BY_WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            return Trouble(cause, detail)
    if cause := _BY_CODE.get(code, ""):
        return Trouble(cause, detail)
    if 300 <= status < 400:
        return Trouble("redirected", f"{status} to {came.headers.get('location', '?')[:100]}")
    if status == 401:
        return Trouble("caller_key" if error else "foreign_401", detail)
    if status == 403:
        forbidden = aws.startswith("AccessDenied") or b'"Forbidden' in came.body
        return Trouble("aws_forbidden" if forbidden else "foreign_403", detail)
    if status in {404, 405}:
        return Trouble("path_unknown", detail)
    if status == 413:
        return Trouble("too_large", detail)
    if status == 429:
        return Trouble("throttled" if aws or not error else "model_limited", detail)
    if status >= 500 and not error and (aws or _LAMBDA_FAILED in came.body[:100].lower()):
        return Trouble("crashed", detail)
    if status >= 500:
        return Trouble("model_down" if code.startswith("upstream_") else "proxy_error", detail)
    return Trouble("bad_request", detail)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _shown(body: bytes) -> str:
    return repr(body[:80].decode("utf-8", "replace"))
