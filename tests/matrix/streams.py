"""One answer in each provider's style, streamed and whole.

From documentation and public reports, not recorded from any provider. A style takes
the answer and returns the data of each event; a text is a comment or another kind of field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from local.scripted.script import Raw, Reply, Script


@dataclass(frozen=True, slots=True)
class Output:
    """Words, or a call."""

    text: str = ""
    call: str = ""
    """The tool's name."""
    arguments: str = ""
    id: str = "call_1"

    @property
    def function(self) -> dict[str, str]:
        """The call as OpenAI writes it."""
        return {"name": self.call, "arguments": self.arguments}

    @property
    def finish(self) -> str:
        """OpenAI's finish reason."""
        return "tool_calls" if self.call else "stop"

    @property
    def halves(self) -> tuple[str, str]:
        """The text in two halves."""
        half = len(self.text) // 2
        return self.text[:half], self.text[half:]


Event = dict[str, Any] | str
Style = Callable[[Output], Iterator[Event]]
Message = Callable[[Output], dict[str, Any]]
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def streamed(style: Style, output: Output) -> Script:
    """Return the bytes of the answer's stream."""
    blocks = (one if isinstance(one, str) else f"data: {json.dumps(one)}" for one in style(output))
    return [Raw("".join(f"{block}\n\n" for block in [*blocks, "data: [DONE]"]).encode())]


def whole(message: Message, output: Output, finish: str = "") -> Script:
    """Return the answer in one piece."""
    choice = {"index": 0, "message": message(output), "finish_reason": finish or output.finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return [Reply(json.dumps({**body, "choices": [choice], "usage": USAGE}).encode())]


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice], **more}


def call(output: Output, **more: Any) -> dict[str, Any]:
    """Return a delta with the whole call."""
    return {"tool_calls": [{"index": 0, "id": output.id, "type": "function"} | more]}


def plain(output: Output) -> Iterator[Event]:
    """OpenAI: padding and a fingerprint."""
    more = {"system_fingerprint": "fp_1", "obfuscation": "a8Xk2"}
    yield chunk(
        {"role": "assistant", "content": None if output.call else "", "refusal": None}, **more
    )
    if output.call:
        yield chunk(call(output, function={"name": output.call, "arguments": ""}), **more)
        for piece in (output.arguments[:4], output.arguments[4:]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, **more)
    else:
        for piece in output.halves:
            yield chunk({"content": piece}, **more)
    yield chunk({}, output.finish, **more)


def azure(output: Output) -> Iterator[Event]:
    """A frame without choices first, and a choice without a delta."""
    filters = [{"prompt_index": 0, "content_filter_results": {}}]
    yield {"id": "", "object": "", "created": 0, "model": "", "choices": []} | {
        "prompt_filter_results": filters
    }
    yield from plain(output)
    yield {
        **chunk({}),
        "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}],
    }


def gemini(output: Output) -> Iterator[Event]:
    """Thoughts as content; whole calls, without index, signed; the finish is `stop`."""
    thought = {"role": "assistant", "content": "<thought>They ask.</thought>"}
    yield chunk({**thought, "extra_content": {"google": {"thought": True}}})
    if output.call:
        signed = {"google": {"thought_signature": "QWIrLw=="}}
        made = {"id": output.id, "type": "function", "function": output.function}
        yield chunk(
            {"role": "assistant", "tool_calls": [{**made, "extra_content": signed}]}, "stop"
        )
        return
    first, second = output.halves
    yield chunk({"role": "assistant", "content": first})
    yield chunk({"role": "assistant", "content": second}, "stop", usage=USAGE)


def vertex(output: Output) -> Iterator[Event]:
    """Slot 0, an empty id, the signature in a separate frame under another name."""
    if not output.call:
        yield from gemini(output)
        return
    made = {"index": 0, "id": "", "type": "function", "function": output.function}
    yield chunk({"role": "assistant", "tool_calls": [made]})
    signed = {"vertex": {"thought_signature": "QWIrLw=="}}
    yield chunk({"tool_calls": [{"index": 0, "extra_content": signed}]})
    yield chunk({}, "stop")


def anthropic(output: Output) -> Iterator[Event]:
    """An empty object before the real arguments."""
    if not output.call:
        yield from plain(output)
        return
    yield chunk({"role": "assistant", "content": None})
    yield chunk(call(output, function={"name": output.call, "arguments": "{}"}))
    yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": output.arguments}}]})
    yield chunk({}, "tool_calls")


def mistral(output: Output) -> Iterator[Event]:
    """Content in lists; the whole call in the frame of its finish, without a type."""
    yield chunk({"role": "assistant", "content": ""})
    thinking = [{"type": "text", "text": "They ask."}]
    yield chunk({"content": [{"type": "thinking", "thinking": thinking}]})
    if output.call:
        made = {"index": 0, "id": "a1b2c3d4e", "function": output.function}
        yield chunk({"content": "", "tool_calls": [made]}, "tool_calls", usage=USAGE)
        return
    first, second = output.halves
    yield chunk({"content": [{"type": "text", "text": first}]})
    yield chunk({"content": [{"type": "reference", "reference_ids": [1]}]})
    yield chunk({"content": second}, "stop", usage=USAGE)


def mistral_whole(output: Output) -> dict[str, Any]:
    """The same in one piece."""
    if output.call:
        return openai_whole(Output(call=output.call, arguments=output.arguments, id="a1b2c3d4e"))
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "They ask."}]}
    return {"role": "assistant", "content": [thinking, {"type": "text", "text": output.text}]}


def deepseek(output: Output) -> Iterator[Event]:
    """Comments while it is busy; reasoning with null content."""
    yield ": keep-alive"
    yield chunk({"role": "assistant", "content": None, "reasoning_content": "They"})
    yield chunk({"content": None, "reasoning_content": " ask."})
    yield from list(plain(output))[1:-1]
    yield chunk({"content": "", "reasoning_content": None}, output.finish, usage=USAGE)


def reasoned_whole(output: Output) -> dict[str, Any]:
    """Reasoning next to the words."""
    return {**openai_whole(output), "reasoning_content": "They ask."}


def openrouter(output: Output) -> Iterator[Event]:
    """Comments, also wrapped as data; reasoning in two spellings; a finish of the provider's."""
    yield ": OPENROUTER PROCESSING"
    yield "data: : OPENROUTER PROCESSING"
    details = [{"type": "reasoning.text", "text": "They ask.", "index": 0}]
    thought = {"role": "assistant", "content": "", "reasoning": "They ask."}
    yield chunk({**thought, "reasoning_details": details}, provider="Anthropic")
    yield from list(plain(output))[1:]
    yield chunk({"role": "assistant", "content": ""}, usage=USAGE)


def vllm(output: Output) -> Iterator[Event]:
    """Id and name in two frames, the arguments twice; a tag that only closes, and a token."""
    yield chunk({"role": "assistant", "content": ""})
    if output.call:
        yield chunk(call(output, function={"arguments": ""}))
        for function in ({"name": output.call}, {"arguments": output.arguments}, output.function):
            yield chunk({"tool_calls": [{"index": 0, "function": function}]})
        yield chunk({}, "tool_calls")
        return
    yield chunk({"content": "</think>\n\n"})
    yield chunk({"content": output.text + "<|im_"})
    yield chunk({"content": "end|>"}, "stop", stop_reason=None)


def hermes(output: Output) -> Iterator[Event]:
    """An unparsed call in the text."""
    yield chunk({"role": "assistant", "content": ""})
    text = _written(output) if output.call else f"<think>They ask.</think>{output.text}"
    for start in range(0, len(text), 9):
        yield chunk({"content": text[start : start + 9]})
    yield chunk({}, "stop")


def _written(output: Output) -> str:
    return (
        f'<tool_call>\n{{"name": "{output.call}", "arguments": {output.arguments}}}\n</tool_call>'
    )


def hermes_whole(output: Output) -> dict[str, Any]:
    """The same in one piece."""
    return {"role": "assistant", "content": _written(output) if output.call else output.text}


def harmony(output: Output) -> Iterator[Event]:
    """gpt-oss's channels in the text."""
    yield chunk({"role": "assistant", "content": ""})
    text = _channels(output)
    for start in range(0, len(text), 11):
        yield chunk({"content": text[start : start + 11]})
    yield chunk({}, "stop")


def _channels(output: Output) -> str:
    thought = "<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant"
    if output.call:
        to = f"<|channel|>commentary to=functions.{output.call} <|constrain|>json<|message|>"
        return f"{thought}{to}{output.arguments}<|call|>"
    return f"{thought}<|channel|>final<|message|>{output.text}<|return|>"


def harmony_whole(output: Output) -> dict[str, Any]:
    """The same in one piece."""
    return {"role": "assistant", "content": _channels(output)}


def ollama(output: Output) -> Iterator[Event]:
    """An empty finish in each frame, a role in each delta; a whole call, which ends in `stop`."""
    if output.call:
        yield chunk(
            {"role": "assistant", "content": ""} | call(output, function=output.function), ""
        )
        yield chunk({"role": "assistant", "content": ""}, "stop")
        return
    for piece in output.halves:
        yield chunk({"role": "assistant", "content": piece}, "")
    yield chunk({"role": "assistant", "content": ""}, "stop")


def dashscope(output: Output) -> Iterator[Event]:
    """Empty ids and names in later frames; the usage in a frame without choices."""
    yield chunk({"role": "assistant", "content": None, "reasoning_content": "They ask."})
    if output.call:
        yield chunk(call(output, function={"name": output.call, "arguments": ""}))
        for piece in (output.arguments[:5], output.arguments[5:]):
            made = {"index": 0, "id": "", "type": "function"}
            yield chunk({"tool_calls": [made | {"function": {"name": "", "arguments": piece}}]})
    else:
        for piece in output.halves:
            yield chunk({"content": piece, "reasoning_content": None})
    yield chunk({"content": ""}, output.finish)


def minimax(output: Output) -> Iterator[Event]:
    """Empty roles, and the whole answer again in the last frame."""
    for event in plain(output):
        assert isinstance(event, dict)
        event["choices"][0]["delta"]["role"] = ""
        yield event
    choice = {"index": 0, "message": openai_whole(output), "finish_reason": output.finish}
    yield {**chunk({}), "object": "chat.completion", "choices": [choice], "usage": USAGE}


def repeats(output: Output) -> Iterator[Event]:
    """The last delta repeats the whole text."""
    *events, end = plain(output)
    yield from events
    if output.text:
        yield chunk({"content": output.text})
    yield end


def pings(output: Output) -> Iterator[Event]:
    """Pings with text, a start event, and a sentence after the end."""
    yield "data: [START]"
    yield "event: ping\ndata: 10:00"
    yield from plain(output)
    yield "data: stream closed"


def openai_whole(output: Output) -> dict[str, Any]:
    """A whole message as OpenAI writes it."""
    if output.call:
        made = {"id": output.id, "type": "function", "function": output.function}
        return {"role": "assistant", "content": None, "tool_calls": [made]}
    return {"role": "assistant", "content": output.text, "refusal": None}
