"""What is wrong with an answer that came, and what it feels like."""

from __future__ import annotations

from collections.abc import Mapping

from ops.doctor.causes.cause import LOG, Cause

_DIALECT = "Is this our function? Compare with the output `ServerUrl`; if it is, report a bug."

HEARING: Mapping[str, Cause] = {
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
        f"Look at {LOG}. " + _DIALECT,
    ),
    "silent": Cause(
        "A stream without words and without a tool call: voice platforms end the call on it.",
        _DIALECT,
    ),
    "no_terminator": Cause(
        "The last event is not `data: [DONE]`: strict clients wait on, or take it for a cut. The "
        "function died, its answer was cut, or this is another server.",
        f"Look at {LOG}. " + _DIALECT,
    ),
    "after_terminator": Cause("Something comes behind the end.", _DIALECT),
    "unfinished_event": Cause(
        "The last event lacks its blank line, so clients never see it: the answer was cut.",
        f"Look at {LOG} for a timeout.",
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
