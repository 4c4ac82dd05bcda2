"""What keeps a request from the function, or the function from taking it."""

from __future__ import annotations

from collections.abc import Mapping

from ops.doctor.causes.cause import LOG, Cause

REACHING: Mapping[str, Cause] = {
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
        "Try from another network. The doctor ignores the environment's proxy.",
        dead_end=True,
    ),
    "tls_certificate": Cause(
        "The certificate is not valid: an intercepting proxy, a wrong host, or a wrong clock.",
        "Function URLs have a valid one. Check host and clock; on Python from python.org for "
        "macOS run its `Install Certificates.command`.",
        dead_end=True,
    ),
    "tls": Cause(
        "The TLS handshake failed: the port speaks plain HTTP, or something in between cut it.",
        "`make run` is http://, a Function URL https:// on port 443.",
        dead_end=True,
    ),
    "timeout": Cause(
        "Nothing came in time: the function hangs, its environment starts too slowly, or "
        "something in between swallows the answer.",
        f"Look for timeouts in {LOG}. TurnBudgetMs ends a model that hangs, so it is not the "
        "model, unless TurnBudgetMs is 0.",
        dead_end=True,
    ),
    "closed": Cause(
        "The connection was closed without an answer: a process that dies, or a proxy.",
        f"Look at {LOG}, and for a proxy in front.",
    ),
    "not_http": Cause(
        "The server does not speak HTTP/1.1.",
        "Check port and scheme: a TLS port that is asked without TLS answers like this.",
        dead_end=True,
    ),
    "cut": Cause(
        "The answer was cut off: the function timed out or crashed in mid-stream, or a proxy "
        "ended it.",
        f"Look at {LOG} for `Task timed out` or a trace.",
    ),
    "endless": Cause("The answer does not end.", "Something else than our function answers."),
    # -- before the model is asked
    "caller_key": Cause(
        "This is not the caller key of this deployment: mistyped, cut short, from another stage, "
        "or rotated twice.",
        "Use the key that the command in the output `CallerKeyCommand` prints (`make run`: "
        "local-caller-key). The log event `auth.refused` has the length of the key that came.",
        dead_end=True,
    ),
    "foreign_401": Cause(
        "Something in front of the function asks for its own login.",
        "Function URLs do not: look for a proxy, an API gateway or a web firewall.",
        dead_end=True,
    ),
    "aws_forbidden": Cause(
        "AWS refuses before the function is asked: the URL's AuthType is not NONE, one of the two "
        "permissions that a public URL needs (lambda:InvokeFunctionUrl, lambda:InvokeFunction) is "
        "missing, or an organisation's policy (SCP) forbids public URLs.",
        "Run `make deploy` again to restore both permissions; only an SCP's owner can change it.",
        dead_end=True,
    ),
    "foreign_403": Cause(
        "Something in front of the function refuses: a web firewall, a proxy, a private network.",
        "Let the voice platform's addresses through.",
        dead_end=True,
    ),
    "path_unknown": Cause(
        "The server is not ours, or it requires an exact path where ours takes any.",
        "Paste the base URL that ends in /v1, and nothing after it. Is it the output `ServerUrl`?",
    ),
    "open_door": Cause(
        "A request without a key, or with a wrong one, is answered: anybody can spend your money.",
        "Is this our function? It refuses both. Look for a proxy that adds a key.",
    ),
    "too_large": Cause(
        "The request was refused for its size: a proxy in front has a lower limit than Lambda's "
        "6 MB.",
        "Raise the proxy's limit (nginx: client_max_body_size).",
    ),
    "throttled": Cause(
        "AWS refuses more turns: ReservedConcurrency or the account's limit is reached (0 "
        "closes the URL).",
        "Raise `ReservedConcurrency` in samconfig.toml, or ask AWS for more concurrency.",
    ),
    "bad_request": Cause(
        "The server refuses a request that voice platforms send.",
        "The answer's `param` names the field; if the refusal is the model API's: "
        "`UpstreamExtraBody`, `UpstreamModel`.",
    ),
    "shape_refused": Cause(
        "The model refuses a history of this shape. Platforms send the history again, so each "
        "later turn of the call fails as well. Our function mends it. This is another server, or "
        "the model refuses in words that ours does not know.",
        "Point the agent at the function and the function at this server (`UpstreamBaseUrl`); if "
        "this is the function, report the words of the refusal.",
    ),
    "redirected": Cause(
        "The URL redirects, and voice platforms do not follow.",
        "Paste the address that it leads to; often that is https:// instead of http://.",
        dead_end=True,
    ),
}
