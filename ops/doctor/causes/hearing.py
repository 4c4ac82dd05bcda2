"""What is wrong with an answer that came, and what it feels like."""

from __future__ import annotations

from collections.abc import Mapping

from ops.doctor.causes.cause import LOG, Cause

_DIALECT = "Is this our function? Compare with the output `ServerUrl`; if it is, report a bug."

HEARING: Mapping[str, Cause] = {
    # -- the stream
    "wrong_type": Cause(
        "The answer is not an event stream: the server ignores `stream: true`, or something else "
        "answers.",
        "Look at what came. " + _DIALECT,
    ),
    "not_sse": Cause("A line is not part of an event stream: something writes into it.", _DIALECT),
    "empty_stream": Cause(
        "A 200 without a single event: the function ended without a word, or a proxy dropped the "
        "body. Platforms end the call on it.",
        f"Look at {LOG}. " + _DIALECT,
    ),
    "silent": Cause(
        "The stream has no words and no tool call: voice platforms end the call on it.",
        _DIALECT,
    ),
    "no_terminator": Cause(
        "The last event is not `data: [DONE]`: strict clients keep waiting, or see a cut. The "
        "function died, its answer was cut, or this is another server.",
        f"Look at {LOG}. " + _DIALECT,
    ),
    "after_terminator": Cause("Something follows the end.", _DIALECT),
    "unfinished_event": Cause(
        "The last event lacks its blank line, so clients never see it: the answer was cut.",
        f"Look at {LOG} for a timeout.",
    ),
    "bad_json": Cause("An event is not JSON: something writes into the stream.", _DIALECT),
    "glued_json": Cause(
        "One event has two JSON values: a proxy or a server joins events.", _DIALECT
    ),
    "not_the_dialect": Cause("The events do not have this API's shape.", _DIALECT),
    "changing_identity": Cause("One answer has several ids: clients take it for two.", _DIALECT),
    "no_role": Cause("The opening is missing: strict clients refuse what follows.", _DIALECT),
    "odd_role": Cause("The role does not come first, or comes twice.", _DIALECT),
    "no_finish": Cause("Nothing says why the answer ended: it was cut.", _DIALECT),
    "after_finish": Cause("Something is said after the finish; clients drop it.", _DIALECT),
    "bad_call": Cause(
        "No platform can carry out the tool call: no id, no name, or arguments that are not JSON.",
        _DIALECT,
    ),
    "thinks_aloud": Cause(
        "The caller hears the model's thinking.",
        "Turn it off at the model: `UpstreamExtraBody`.",
    ),
    "error_frame": Cause(
        "The model failed in mid-answer.", "The log event `turn.failed` has code and reason."
    ),
    "failure_sentence": Cause(
        "No model answered, and the caller hears our apology.",
        "The log event `turn.failed` has code and reason; so has the cause shown with this one.",
    ),
    "declined": Cause(
        "The model's content filter withheld its answer, and the caller hears our sentence.",
        "Look at the provider's filter settings: these requests are harmless.",
    ),
    "cut_answer": Cause(
        "The model's answer broke off, and our own words followed.",
        "If it is rare, it is the network. If not, use another model, or raise `StallTimeoutMs`.",
        warning=True,
    ),
    # -- what it feels like
    "late_words": Cause(
        "Twice the first words came after the platform had lost patience: it asks again and "
        "again, and then ends the call.",
        "Use a faster model, `BufferWordsAfterMs` below the platform's cascade timeout, and "
        "streaming.",
    ),
    "late_once": Cause(
        "The first words came too late once, but in time when asked again, as platforms do.",
        "Look for a start without snapshot (`SnapStart`), an answer in one lump, or a slow model.",
        warning=True,
    ),
    "slow_words": Cause(
        "More than two seconds of silence.",
        "`BufferWordsAfterMs` (0 is off) fills it; a faster model ends it.",
        warning=True,
    ),
    "buffer_words": Cause(
        "The first word was late (a slow model, or a cold start), so buffer words came first.",
        "Nothing to do: that is their purpose. If it happens in most turns, use a faster model.",
        warning=True,
    ),
    "no_call": Cause(
        "The model talked instead of calling the tool, as small models do.",
        "Nothing to do if the agent has no tools; otherwise use a better model.",
        warning=True,
    ),
    "lump": Cause(
        "The whole answer comes at once, when it is complete: buffer words are useless, and every "
        "answer begins when it ends. InvokeMode is BUFFERED, or a proxy in front collects the "
        "answer.",
        "`InvokeMode` = RESPONSE_STREAM in samconfig.toml, then `make deploy`; in a proxy, turn "
        "buffering off (nginx: proxy_buffering off).",
        warning=True,
    ),
    "plain_http": Cause(
        "The caller key crosses the network unencrypted.", "Use https://.", warning=True
    ),
}
