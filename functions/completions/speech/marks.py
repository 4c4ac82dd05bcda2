"""The marks that models write into their text, and what each means. None of them is speech.

Spellings: the chat templates and documentation of the models named below. Each is written here as
`spelling` returns it: in lower case, with `|` for DeepSeek's `｜` and `_` for its `▁`. Knows marks,
not the text between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto

from completions.immutable import immutable


class Sense(Enum):
    """What a mark does to the text after it."""

    NOTHING = auto()
    """A special token: removed."""
    END = auto()
    """The end of a message or an answer: removed, too."""
    THOUGHT = auto()
    """Thoughts follow."""
    THOUGHT_END = auto()
    CALL = auto()
    """A tool call follows."""
    CALL_END = auto()
    HEADER = auto()
    """The name of a role or a channel follows, up to the end of its line or to another mark."""
    HEADER_MORE = auto()
    """A mark within a header."""
    ANSWER = auto()
    """The assistant speaks."""
    OTHERS = auto()
    """Somebody else speaks: the model has run on past its own end."""
    FENCE = auto()
    """The end of a code block, which may be a call; otherwise text."""


@immutable
class Mark:
    """What one mark means."""

    sense: Sense
    closing: str = ""
    """The mark that ends the call; empty if only the end of a message does."""
    kept: bool = False
    """True if the mark belongs to the call: it holds the name."""


_THOUGHT_TAGS = (
    "think thinking thought thoughts reasoning reflection scratchpad analysis seed:think "
    "mm:think longcat_think"
)
_THOUGHTS = (
    ("[think]", "[/think]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("<|channel>", "<channel|>"),  # Gemma 4
    ("<|think|>", "<|/think|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    ("<|start_thinking|>", "<|end_thinking|>"),  # Command A
)
_CALL_TAGS = (
    "tool_call tool_calls function_call function_calls functioncall toolcall tool_use tool_code "
    "minimax:tool_call seed:tool_call longcat_tool_call"
)
_CALLS = (
    ("<|tool_call_begin|>", "<|tool_call_end|>"),  # Kimi, DeepSeek
    ("<|tool_call|>", "<|/tool_call|>"),  # Phi-4, Granite
    ("<|tool_call>", "<tool_call|>"),  # Gemma 4
    ("<start_function_call>", "<end_function_call>"),  # FunctionGemma
    ("<|start_action|>", "<|end_action|>"),  # Command R
    ("<|action_start|>", "<|action_end|>"),  # InternLM
    ("<|python_tag|>", ""),  # Llama 3
    ("[tool_calls]", ""),  # Mistral
    ("[tool_call]", "[/tool_call]"),
    ("[tool_request]", "[end_tool_request]"),  # LM Studio, for models without a notation
    *((f"```{name}", "```") for name in ("tool_code", "tool_call", "tool_calls", "function_call")),
)
_NAMED_CALLS = (
    ("<function=", "</function>"),  # Llama, Qwen
    ("<function name=", "</function>"),
    ("<invoke name=", "</invoke>"),  # Anthropic, MiniMax, DeepSeek
)
_OTHER_MARKS = {
    # Any other `<|…|>` has no meaning and needs no row.
    Sense.NOTHING: "<s> <bos> <pad> <unk> <sop> <answer> </answer> [inst] [/inst] <|plugin|>",
    Sense.END: "</s> <eos> <end_of_turn> <turn|> <end_of_utterance> <|im_end|> <|end|> <|call|> "
    "<|return|> <|eot_id|> <|eom_id|> <|endoftext|> <|end_of_text|> <|end_of_sentence|> <|eot|> "
    "<|end_of_turn|> <|endofprompt|>",
    Sense.HEADER: "<|start|> <|channel|> <|im_start|> <|start_header_id|> <|start_of_role|> "
    "<start_of_turn> <|turn> <|header_start|>",
    Sense.HEADER_MORE: "<|constrain|>",
    Sense.ANSWER: "<|assistant|> <|model|> <|start_response|>",
    Sense.OTHERS: "<|user|> <|system|> <|observation|> <|human|>",
    Sense.FENCE: "```",
}


def _table() -> dict[str, Mark]:
    table = {one: Mark(sense) for sense, marks in _OTHER_MARKS.items() for one in marks.split(" ")}
    tags = [(f"<{tag}>", f"</{tag}>") for tag in _THOUGHT_TAGS.split()]
    for opening, closing in (*tags, *_THOUGHTS):
        table |= {opening: Mark(Sense.THOUGHT), closing: Mark(Sense.THOUGHT_END)}
    tags = [(f"<{tag}>", f"</{tag}>") for tag in _CALL_TAGS.split()]
    for opening, closing in (*tags, *_CALLS, *_NAMED_CALLS):
        kept = opening.endswith("=")
        table[opening] = Mark(Sense.CALL, closing, kept)
        if closing not in {"", "```"}:
            table[closing] = Mark(Sense.CALL_END)
    return table


_TABLE = _table()
_NOTHING = Mark(Sense.NOTHING)
_SPECIAL = r"<[|｜][^<>|｜\s\[`◁]{1,40}[|｜]>"
_SPACED_SPECIAL = r"<｜[^<>|｜\n\[`◁]{1,40}｜>"
"""DeepSeek's marks as gateways respell them: `<｜tool calls begin｜>`."""
_DSML = "(?:[|｜]DSML[|｜])?"
"""DeepSeek 3.2 writes `<｜DSML｜invoke name=`."""
_TAG = re.compile(r"</?([a-z_:]+)>")


def _patterns() -> Iterator[str]:
    yield _SPECIAL
    yield _SPACED_SPECIAL
    tags = {tag[1] for one in _TABLE if (tag := _TAG.fullmatch(one))}
    yield f"</?{_DSML}(?:{'|'.join(sorted(tags))})>"
    for one in _TABLE:
        if one.startswith("["):
            yield f"(?-i:{re.escape(one.upper())})"  # `[think]` may be a direction to the voice.
        elif one.startswith("`"):
            yield re.escape(one) + (r"(?![a-z_])" if one == "```" else r"(?=\s)")
        elif one.endswith("="):
            yield "<" + _DSML + re.escape(one[1:])
        elif not (_TAG.fullmatch(one) or re.fullmatch(_SPECIAL, one)):
            yield re.escape(one)


MARK = re.compile("|".join(_patterns()), re.IGNORECASE)
"""Any mark."""
_UNFINISHED_SPECIAL = re.compile(
    r"</?(?:[|｜][^<>|｜\s\[`◁]{0,40}[|｜]?|｜[^<>|｜\n\[`◁]{0,40}｜?)?"
)
_BEGINNINGS = frozenset(one[:end] for one in _TABLE for end in range(1, len(one) + 1))
_LONGEST_CHARS = 48


def may_hold_mark(text: str) -> bool:
    """Return whether a mark may begin in the text, as cheaply as possible."""
    return "<" in text or "[" in text or "`" in text or "◁" in text


def spelling(mark: str) -> str:
    """Return how the table spells a mark."""
    mark = mark.lower().replace("｜", "|").replace("▁", "_").replace("\\_", "_")
    mark = mark.replace("|dsml|", "")
    return mark.replace(" ", "_") if mark.startswith("<|") else mark


def meaning(mark: str) -> Mark:
    """Return what a mark found by `MARK` means."""
    return _TABLE.get(spelling(mark), _NOTHING)


def unfinished_at(text: str) -> int:
    """Return where an unfinished mark may begin in the text, or the text's length.

    No mark contains the first character of another, except for a fence's three.
    """
    start = max(text.rfind(sign) for sign in "<[`◁")
    while start > 0 and text[start] == "`" == text[start - 1]:
        start -= 1
    if start < 0 or len(text) - start > _LONGEST_CHARS:
        return len(text)
    tail = text[start:]
    if tail[0] == "[" and tail != tail.upper():
        return len(text)
    if spelling(tail) in _BEGINNINGS or _UNFINISHED_SPECIAL.fullmatch(tail):
        return start
    return len(text)
