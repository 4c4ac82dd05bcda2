"""Kinds that are known to go wrong: each with what is known, until it is mended.

They are played all the same, each in an environment of its own, and counted apart. The aim is an
empty table: a line goes when what it says is no longer so.
"""

from __future__ import annotations

_WHY: dict[str, tuple[str, ...]] = {
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
}
KNOWN: dict[str, str] = {name: why for why, names in _WHY.items() for name in names}
