"""Every question of a trial, in the order in which they are asked.

Questions that a deployment answers only once have a fixed place: the first turn first, the second
deployment last. Questions that a trial cannot ask are in NOT_ASKED, with the reason.
"""

from __future__ import annotations

from ops.trial import refusals, server, streams
from ops.trial.probe import Probe

_PRELUDE = "layers/streaming/lambda_streaming/response_stream.py"
_ASGI = "layers/streaming/lambda_streaming/asgi.py"
_PAYLOAD = "local/payload.py"
_URL = "local/function_url.py"
_DOCTOR = "ops/doctor/diagnosis.py"

PROBES = (
    Probe(
        "restored",
        "Are first words in time after a restore from a snapshot?",
        "within a platform's 4 s",
        "template.yaml",
        server.restored,
    ),
    Probe(
        "doctor",
        "Can a voice agent use the deployed server?",
        "yes, and it streams",
        "docs/doctor.md",
        server.doctor,
    ),
    Probe(
        "gap-2",
        "Is first data held back to the end if it leaves 2 ms after the prelude?",
        "never",
        _PRELUDE,
        streams.gap_of_2,
    ),
    Probe(
        "gap-0",
        "Is it held back without a gap?",
        "in about one answer in six, as with Node.js's client",
        _PRELUDE,
        streams.no_gap,
    ),
    Probe("gap-25", "Is it held back after 25 ms?", "never", _PRELUDE, streams.gap_of_25),
    Probe(
        "small-chunk",
        "Does a single byte arrive at once?",
        "yes, alone",
        "docs/streaming.md",
        streams.one_small_chunk,
    ),
    Probe("empty-302", "Does an empty 302 end?", "at once", _ASGI, streams.empty_302),
    Probe("empty-204", "Does a 204 end?", "at once", _ASGI, streams.empty_204),
    Probe(
        "content-length",
        "What becomes of content-length in a streamed answer?",
        "it stays, or becomes x-amzn-remapped-content-length; the body is whole",
        "docs/streaming.md",
        streams.content_length,
    ),
    Probe(
        "content-encoding",
        "Can a compressed stream be read?",
        "no: content-encoding is lost, so accept-encoding is hidden",
        "docs/streaming.md",
        streams.content_encoding,
    ),
    Probe(
        "hang-up",
        "Does a function run on after its caller hangs up?",
        "yes, to its end",
        "docs/streaming.md",
        streams.hang_up,
    ),
    Probe(
        "502-streamed",
        "What does a streaming URL answer if the function dies?",
        "502 Internal Server Error, like a buffered one",
        _PAYLOAD,
        refusals.streamed_502,
    ),
    Probe(
        "502-buffered",
        "And a buffered URL?",
        "502 Internal Server Error",
        _PAYLOAD,
        refusals.buffered_502,
    ),
    Probe(
        "cut-by-death",
        "What does a caller see if the function dies in mid-answer?",
        "200, and a connection cut without its last chunk",
        _URL,
        refusals.cut_by_death,
    ),
    Probe(
        "cut-by-trailers",
        "And if a stream ends with error trailers?",
        "the same",
        _URL,
        refusals.cut_by_trailers,
    ),
    Probe(
        "429",
        "What is the answer if no environment is free?",
        '429, "Rate Exceeded."',
        _URL,
        refusals.throttled_429,
    ),
    Probe(
        "413",
        "What is the answer to more than 6 MB?",
        '413, "Request Too Large"',
        _URL,
        refusals.too_large_413,
    ),
    Probe(
        "403",
        "Does AWS's refusal look as the doctor expects?",
        "403, AccessDeniedException or Forbidden",
        _DOCTOR,
        refusals.forbidden_403,
    ),
    Probe(
        "404",
        "Does our own 404 arrive unchanged?",
        "yes, with our error object",
        _DOCTOR,
        refusals.our_404,
    ),
    Probe("paths", "How does a path arrive?", "as it was sent", _PAYLOAD, refusals.paths_as_sent),
    Probe(
        "dict-as-text",
        "What becomes of a dict on a streaming URL?",
        "200, and the dict as JSON text",
        _PAYLOAD,
        refusals.dict_as_text,
    ),
    Probe(
        "log-fields",
        "Where are a turn's fields in its log line?",
        "at the top level of the JSON line turn.finished",
        "functions/completions/observability.py",
        server.log_fields,
    ),
    Probe(
        "metrics",
        "Does CloudWatch make metrics from the log?",
        "yes: Turns, under the stack's name",
        "functions/completions/observability.py",
        server.metrics,
    ),
    Probe(
        "new-version",
        "Does the alias follow a changed parameter?",
        "yes, to a new version with the new values",
        "docs/deployment.md",
        server.new_version,
    ),
    Probe(
        "cold",
        "Are first words in time after a start without a snapshot?",
        "within a platform's 4 s",
        "docs/deployment.md",
        server.cold,
    ),
)

NOT_ASKED = {
    "What does the URL of an inactive version answer?": "A version becomes inactive after 14 days "
    "without a call. Then run `make doctor`: it should name SnapStart (cause no_snapshot, "
    "ops/doctor/diagnosis.py).",
    "Does Bedrock take the role's key?": "It needs a model that your account may ask: deploy with "
    "`BedrockModelArns` and run `make doctor` (docs/models.md).",
    "Does a Lambda Web Function run Python?": "See docs/web-functions.md.",
}
"""What a trial does not ask, and how to find out."""
