"""Thoughts in every spelling, and other marks that are not speech."""

from __future__ import annotations

from tests.soak.kinds.kind import CHAT, add, kind
from tests.soak.script import Acts, Answer, Wait

TAGS = ("think", "thinking", "reasoning")
PLACES = 5
"""The number of pieces of a text."""


def _said(answer: Answer, text: str) -> Acts:
    """Say a text in one piece, or cut anywhere."""
    yield answer.open()
    cuts = sorted(answer.rng.randint(0, len(text)) for _ in range(answer.rng.choice((0, PLACES))))
    for start, stop in zip((0, *cuts), (*cuts, len(text)), strict=True):
        if text[start:stop]:
            yield answer.speech(text[start:stop])
            yield Wait(answer.rng.choice((0, 0.05)))
    yield answer.end()


def _text(pattern: str, *, good: bool = True, **flags: object) -> None:
    """Add a kind that says a pattern: W must be heard, X must not; M, and text after `+`, may."""

    def play(answer: Answer) -> Acts:
        text = ""
        for letter in pattern.split("¦"):
            match letter:
                case "W":
                    text += answer.words(answer.few())
                case "X":
                    text += answer.never(answer.few())
                case "M":
                    text += answer.maybe(answer.few())
                case mark:
                    answer.plain = False
                    text += answer.also(mark[1:]) if mark.startswith("+") else mark
        yield from _said(answer, text)

    add(f"says {pattern.replace('¦', '')}", play, good=good, **flags)


for _tag in TAGS:
    _text(f"<{_tag}>¦X¦</{_tag}>¦W")
_text("<THINK>¦X¦</THINK>¦W")
_text("<think>\n¦X¦\n</think>\n\n¦W")
_text("<think></think>¦W")
_text("<think>¦X¦</think>¦W¦<think>¦X¦</think>¦W")
_text("W¦<think>¦X¦</think>¦W")
_text("<think>¦X¦<think>¦X¦</think>¦W")
# In the first such answer the thoughts were already heard.
_text("M¦</think>¦W", good=False)
_text("W¦</think>¦W")
_text("W¦</think>")
_text("</think>¦W")
_text("W¦</thinking>¦W¦</think>¦W")
_text("+A tag like ¦</think>¦+ closes it. ¦W", good=False)
_text("W¦<think>¦X", good=False)
_text("<think>¦X", good=False, heals=True)
_text("<think>¦X¦</think>", good=False, heals=True)
_text("W¦+<thi", good=False)
_text("W¦+< 3 and ¦W", good=False)
# Marks of other models, which must not be spoken.
_text("<thought>¦X¦</thought>¦W")
_text("<|channel|>analysis<|message|>¦X¦<|end|><|channel|>final<|message|>¦W")
_text("[THINK]¦X¦[/THINK]¦W")
_text("<|channel>thought\n¦X¦<channel|>¦W")
_text("◁think▷¦X¦◁/think▷¦W")
_text("<|start_header_id|>assistant<|end_header_id|>\n\n¦W¦<|eot_id|>")
_text("W¦<|im_end|>\n<|im_start|>user\n¦X", good=False)
_text("W¦<|im_end|>")
_text("W¦<|eot_id|>")
_text("W¦</s>")
_text("<s>¦W")
_text("W¦<|endoftext|>")


@kind("reasoning fields", streams=True, good=True)
def _fields(answer: Answer) -> Acts:
    yield answer.open()
    for _ in range(answer.few()):
        yield answer.think()
        yield Wait(0.1)
    yield answer.say(3) + answer.end()


@kind("reasoning amid words", streams=True, good=True)
def _amid(answer: Answer) -> Acts:
    yield answer.open() + answer.say(2)
    yield answer.think(3)
    yield Wait(1)
    yield answer.say(2) + answer.end()


for _field in ("reasoning", "reasoning_content", "thinking", "reasoning_details"):

    @kind(f"the field {_field}", streams=True, apis=CHAT, good=True)
    def _field_of(answer: Answer, field: str = _field) -> Acts:
        yield answer.open()
        value = [{"text": answer.never()}] if field.endswith("details") else answer.never()
        yield answer.chunk({field: value})
        yield answer.chunk({field: None, "content": answer.words()})
        yield answer.say(2) + answer.end()


@kind("reasoning and words in one frame", streams=True, apis=CHAT, good=True)
def _both(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.chunk({"reasoning_content": answer.never(), "content": answer.words()})
    yield answer.end()


@kind("a think tag in a reasoning field", streams=True, apis=CHAT, good=True)
def _tag_in_field(answer: Answer) -> Acts:
    yield answer.open()
    yield answer.chunk({"reasoning_content": "<think>" + answer.never()})
    yield answer.chunk({"reasoning_content": answer.never() + "</think>"})
    yield answer.say(3) + answer.end()


@kind("nothing but reasoning", streams=True, heals=True)
def _only_reasoning(answer: Answer) -> Acts:
    yield answer.open() + answer.think(3)
    yield answer.end()
