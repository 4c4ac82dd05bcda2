"""Kinds that are known to go wrong: each with what is known, until it is mended.

They are played all the same, each in an environment of its own, and counted apart. The aim is an
empty table: a line goes when what it says is no longer so.
"""

from __future__ import annotations

_WHY: dict[str, tuple[str, ...]] = {
    "a closing tag that nobody opened teaches that a model thinks first, for ever": (
        "says M</think>W",
        "says W</think>W",
        "says W</think>",
        "says </think>W",
        "says W</thinking>W</think>W",
        "says +A tag like </think>+ closes it. W",
    ),
    "content in parts is relayed as a list": (
        "content as parts",
        "content as parts, thoughts among them",
        'the part {"type": "text", "text": null}',
        'the part {"text": "x"}',
        'the part {"type": "image"}',
    ),
    "one 404 without a code teaches for ever that there is no /responses": (
        "status 404",
        "status 405",
        "no such path, a page",
    ),
    "an odd finish is relayed": (
        "an empty finish in each frame",
        *(f"the finish {odd}" for odd in ("eos", "STOP", "end_turn", "stop_sequence")),
        *(f"the finish {odd}" for odd in ("eos_token", "COMPLETE", "unknown", "…")),
        *(f"the finish {odd}" for odd in ("7", "True", "{'type': 'stop'}", "['stop']")),
        "the finish function_call without a call",
        "the finish tool_calls without a call",
        "a call with the finish stop",
    ),
    "a finish that means failure is an end like any other": (
        "the finish error",
        "the finish abort",
        "the finish network_error",
        "the finish insufficient_system_resource",
    ),
    "a call that comes twice is delivered twice": (
        "a call twice under one id",
        "a call twice under two ids",
        "two calls under one id",
    ),
    "a malformed chunk amid words is logged as a bug": (
        "a malformed chunk amid words",
        "a malformed chunk beside words",
    ),
    "another choice is spoken": ("another choice", "two choices in a frame"),
    "an odd or changing identity is relayed": (
        "another object",
        "changing times",
        "changing models",
        "ids that are numbers",
        "models that are objects",
        "times that are text",
        "times with a fraction",
    ),
    "the limit on arguments is passed in the last piece, and what comes with it is lost": (
        "arguments of 300 KB",
        "arguments of 300 KB in the last piece",
        "a thousand calls",
    ),
    "a silent model without skip_turn ends as points": (
        "a call of the older API",
        "no word, then length",
        "no word, then content_filter",
        "nothing but a finish",
        "nothing but a role",
        "nothing but a terminator",
        "nothing but a zero-width space",
        "nothing but an emoji",
        "nothing but blanks",
        "nothing but marks",
        "nothing but points",
        "nothing but reasoning",
        "null content",
        "an empty answer whose connection stays open",
        "says <think>X",
        "says <think>X</think>",
        "words in the field of an older API",
    ),
    "a repair invents": (
        "arguments of a number in place of text",
        "arguments with a key twice",
        "arguments with half a surrogate",
    ),
    "elsewhere than on Lambda a turn may have no end": (
        "words without end",
        "silent before the head",
        "silent in the head",
        "silent after the head",
    ),
    "marks of other models are read out": (
        "says <thought>X</thought>W",
        "says <|channel|>analysis<|message|>X<|end|><|channel|>final<|message|>W",
        "says [THINK]X[/THINK]W",
        "says W<|im_end|>",
        "says W<|eot_id|>",
        "says W<|endoftext|>",
        "says W</s>",
        "says <s>W",
    ),
    "a call that is written as text is read out": tuple(
        f"a call as {model} writes it"
        for model in ("Hermes", "Llama", "Mistral", "XML", "Kimi", "DeepSeek", "Gemini")
    ),
    "an answer that comes again is said twice": (
        "the whole answer again in a message",
        "a response each of whose events comes twice",
    ),
    "a call whose name comes in another piece is taken for two": (
        "a call whose name comes amid it",
        "a call whose name comes second",
    ),
    "an error behind the finish counts": ("an error behind the finish",),
    "what is no choice is relayed": (
        "no choices amid words",
        "no choices beside words",
        "null choices amid words",
        "null choices beside words",
        "null deltas amid words",
        "null deltas beside words",
        "choices without an index",
        "the role ''",
        "the role 'user'",
        "the role 'tool'",
        "the role 'model'",
        "the role 7",
        "a call whose id is a number",
    ),
}
_NO_EVENT = (
    "NaN",
    "a delta that is a list",
    "an error in a choice",
    "calls of strings",
    "calls that are an object",
    "choices of numbers",
    "choices that are a string",
    "choices that are an object",
    "content that is a number",
    "content that is an object",
    "half a surrogate",
)
_WHY["a response's event of no kind is relayed"] = (
    "empty objects before words",
    "empty objects amid words",
    "empty objects beside words",
    "pings before words",
    "pings amid words",
    "pings beside words",
    *(f"{what} in a frame, {place}" for what in _NO_EVENT for place in ("first", "amid words")),
)

KNOWN: dict[str, str] = {name: why for why, names in _WHY.items() for name in names}
