"""A table of what some APIs refuse in a history, in their words, and how to fix it.

Each row names in its comment which API says so. The words are wide, because others phrase the same
differently: a row counts only where it would change the history. Knows only a request's history.
"""

from __future__ import annotations

from completions.quirks.history_contents import (
    calls_as_words,
    fill_empty,
    json_arguments,
    named_results,
    nine_letter_ids,
    null_as_text,
    parts_as_text,
)
from completions.quirks.history_roles import (
    developer_as_system,
    in_turns,
    results_answered,
    system_as_user,
)
from completions.quirks.shape import Shape, in_words

HISTORIES = (
    Shape(
        "developer",
        # Groq, DashScope and LM Studio list the roles they know; DeepSeek's parser is Rust's.
        in_words(
            r"\bdeveloper\b.*\bnot one of\b",
            r"\bunknown variant\W+developer\b",
            r"\bdeveloper\b.*\brole\b",
            r"\brole\b.*\bdeveloper\b",
            r"\binvalid chat setting\b",  # MiniMax does not name the role.
            # pydantic lists the roles it knows, beside the place only.
            r"\brole\W{1,4}input should be\b",
        ),
        messages=developer_as_system,
        items=developer_as_system,
    ),
    Shape(
        "calls",
        # APIs that still find calls without results, or take neither calls nor results.
        in_words(
            r"\btool_call_ids?\b.{0,40}\bnot have\b",
            r"\bno tool (?:call|output|result)s? found\b",
            r"\b(?:must be|not) (?:a response to|followed by|preceded by)\b.{0,60}\btool",
            r"\bfunction (?:response|call)s?\b.{0,40}\b(?:number|equal|same|match)",
            r"\b(?:number|same)\b.{0,40}\bfunction (?:response|call)",
            r"\btool id\b.{0,40}\bnot found\b",
            r"\btool_(?:use|result)\b.{0,80}\b(?:without|missing|corresponding|unexpected|found)\b",
            r"\bfunction response turn comes immediately after\b",
            r"\b(?:unexpected|unknown|invalid|unsupported) role\W+tool\b",
            r"\bunknown variant\W+tool\b",
            r"\brole\W+tool\b.{0,40}\bnot\b",
            r"\btool\W+is not one of\b",
            r"\bonly (?:the )?(?:system, )?user,? and assistant\b",
            r"\btoolConfig\b",
            r"\btools=",
        ),
        messages=calls_as_words,
        items=calls_as_words,
    ),
    Shape(
        "calls-in-turns",
        in_words(r"\balternat(?:e|es|ing|ion)\b"),
        messages=calls_as_words,
        items=calls_as_words,
        after="answered",
    ),
    Shape(
        "system",
        in_words(
            # Templates of Gemma, Mistral and others; OpenAI's o1-mini; Gemini's Gemma.
            r"\bonly (?:the )?user\b(?!.*\binitial\b).*\broles?\b",
            r"\broles? (?:must|should|can) be\W+(?:one of\W+)?(?:either\W+)?(?:user|assistant)\b",
            r"\bdeveloper instruction is not enabled\b",
            r"\bsystem\W+(?:role|message|prompt|instruction)s?\b.{0,20}"
            r"\b(?:not|n't|un)\W?(?:supported|allowed|enabled|accepted)",
            r"\b(?:not|n't) (?:support|allow|accept)\b.{0,20}\Wsystem\b",
            r"\bunknown variant\W+system\b",
            r"\b(?:invalid|unsupported|unknown) role\W+system\b",
            r"\bsystem\b\W+is not one of\b",
        ),
        messages=system_as_user,
        items=system_as_user,
    ),
    Shape(
        "system-in-turns",
        # Templates of Mistral's first models and of Gemma count the system as a turn.
        in_words(r"\balternat(?:e|es|ing|ion)\b"),
        messages=system_as_user,
        items=system_as_user,
        after="turns",
    ),
    Shape(
        "turns",
        in_words(
            # Several instructions, or later ones: Qwen, llama.cpp, Mistral; MiniMax names no role.
            r"\bsystem\b.{0,50}\b(?:beginning|first|start|once|only one|single)\b",
            r"\b(?:multiple|several|more than one|only one|one|a single|duplicate)\W+system\b",
            r"\binitial\b.{0,20}\bsystem\b",
            r"\bunexpected role\b",
            r"\binvalid chat setting\b",
            # One role twice in a row: templates of Gemma, Mistral, Bedrock; Vertex.
            r"\balternat(?:e|es|ing|ion)\b",
            r"\b(?:consecutive|successive|adjacent)\b.{0,40}\b(?:roles?|messages?|turns?)\b",
            r"\b(?:roles?|messages?|turns?)\b.{0,40}\b(?:consecutive|in a row)\b",
            r"\bfunction call turn comes immediately after\b",
            # The assistant last: Claude, Mistral, Vertex.
            r"\bprefill",
            r"\b(?:last|final)\b.{0,20}\b(?:message|turn|role)\b.{0,60}\b(?:user|assistant|model)\b",
            r"\bends?\b.{0,30}\buser\b",
            # The user not first, or not at all: Gemini, Anthropic, Bedrock, Qwen.
            r"\bcontents?\b.{0,20}\bnot specified\b",
            r"\bcontents\b.{0,20}\b(?:empty|required)\b",
            r"\bat least one\b.{0,20}\b(?:message|turn|content|query)\b",
            r"\b(?:no|without a|missing|needs? a|requires? a)\W+user\b",
            r"\b(?:first|starts?|begins?)\b.{0,40}\buser\b",
            # APIs that refuse empty turns (Anthropic, Bedrock) refuse these as well.
            r"\bnon-?empty\b",
        ),
        messages=in_turns,
        items=in_turns,
    ),
    Shape(
        "answered",
        # Mistral: `Unexpected role 'user' after role 'tool'`; templates that count turns.
        in_words(r"\b(?:unexpected|expected last) role\b", r"\balternat(?:e|es|ing|ion)\b"),
        messages=results_answered,
        items=results_answered,
    ),
    Shape(
        "parts",
        # Groq: `value must be a string`; DeepSeek: `invalid type: sequence, expected a string`.
        in_words(
            r"\b(?:content|messages?)\b.{0,160}\b(?:string|str)\b",
            r"\b(?:sequence|array|list)\b.{0,40}\b(?:string|str)\b",
            r"\b(?:string|str)\b.{0,40}\b(?:sequence|array|list)\b",
            r"\bcontent\b.{0,60}\b(?:list|array|parts?)\b.{0,20}\bnot\b",
        ),
        messages=parts_as_text,
        items=parts_as_text,
    ),
    Shape(
        "empty",
        # Anthropic and Bedrock: `must have non-empty content`; Gemini: `an empty text parameter`.
        in_words(
            r"\b(?:content|text|message|parts?|output)\b.{0,60}\b(?:non)?empty\b",
            r"\bempty\b.{0,40}\b(?:content|text|message|parts?|output|string)\b",
            r"\b(?:content|text)\b.{0,60}\b(?:blank|whitespace|too short|at least 1 char)",
            r"\b(?:blank|whitespace)\b.{0,60}\b(?:content|text)\b",
            r"\boneof field 'data' must have one initialized\b",
            # xAI: `at least one content element`; Groq: `minimum string length is 1`.
            r"\bat least one content\b",
            r"\bcontent\b.{0,40}\bminimum string length\b",
        ),
        messages=fill_empty,
        items=fill_empty,
    ),
    Shape(
        "null",
        # Ollama: `invalid message content type: <nil>`; templates: `NoneType`; pydantic: `None`.
        in_words(
            r"\bcontent\b.{0,160}\b(?:null|nil|None|NoneType|required|missing)\b",
            r"\b(?:null|nil|None|missing)\b.{0,60}\bcontent\b",
            r"\bNoneType\b",
            r"\bcontent\b.{0,60}\b(?:expected|must be|should be)\b.{0,20}\bstring\b",
        ),
        messages=null_as_text,
    ),
    Shape(
        "ids",
        # Mistral: `Tool call id was … but must be …, with a length of 9`; Anthropic has a pattern.
        in_words(
            r"(?:call|use|tool)[ _.`']{0,3}ids?\b.{0,120}"
            r"\b(?:length|pattern|regex|match|characters|too long|unique|duplicated?)\b",
            r"\b(?:invalid|duplicated?)\b.{0,20}(?:call|use|tool)[ _.`']{0,3}ids?\b",
            r"\btool_(?:calls?|use)\W.{0,30}\bid\b.{0,120}"
            r"\b(?:length|pattern|regex|match|too long|unique)\b",
        ),
        messages=nine_letter_ids,
        items=nine_letter_ids,
    ),
    Shape(
        "names",
        # Gemini: `function_response.name: Name cannot be empty`.
        in_words(
            r"\bname\b.{0,40}\b(?:empty|required|missing|blank|must)\b",
            r"\b(?:empty|requires?|required|missing|without|needs?|must have)\b.{0,20}\bname\b",
        ),
        messages=named_results,
    ),
    Shape(
        "arguments",
        # llama.cpp: `Failed to parse tool call arguments as JSON`; vLLM shows Python's own words.
        in_words(
            r"\barguments?\b.{0,80}\b(?:json|parsed?|object|dict|dictionary)\b",
            r"\b(?:json|pars\w+)\b.{0,60}\barguments?\b",
            r"\b(?:Expecting|Extra data|Unterminated string)\b.*\bline \d",
        ),
        messages=json_arguments,
        items=json_arguments,
    ),
)
"""In the order in which they are applied: a later row works on what earlier rows left."""
