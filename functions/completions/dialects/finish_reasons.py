"""Translates servers' finish reasons into the four words that callers know.

Words: the documentation of OpenAI, Anthropic, Gemini, Cohere, Bedrock, Mistral, Zhipu, DeepSeek,
and the sources of vLLM, TGI and Ollama, as they come through gateways. Knows neither dialect.
"""

from __future__ import annotations

from typing import Any

from completions.dialects.deltas import Failure, Finish
from completions.errors import UpstreamUnavailable

_FAILED = ""
_WORDS = {
    "stop": "stop done eos eos_token end end_turn endoftext stop_sequence stop_token complete "
    "completed finished normal",
    "length": "length max_tokens max_new_tokens max_output_tokens max_length model_length "
    "token_limit error_limit model_context_window_exceeded context_length_exceeded",
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls",
    "content_filter": "content_filter content_filtered safety image_safety recitation blocklist "
    "prohibited_content spii language other sensitive refusal error_toxic guardrail_intervened",
    _FAILED: "error abort aborted cancel canceled cancelled failed failure internal_error "
    "network_error server_error model_error timeout overloaded insufficient_system_resource "
    "malformed_function_call malformed_response malformed_model_output malformed_tool_use "
    "unexpected_tool_call too_many_tool_calls missing_thought_signature",
}
_MEANINGS = {word: meaning for meaning, words in _WORDS.items() for word in words.split()}
_NO_WORDS = {"", "null", "none", "finish_reason_unspecified"}


def read_finish(reason: Any) -> Finish | Failure | None:
    """Return what a server's finish reason means; None if the answer goes on.

    An unknown word counts as a normal end: a server would call a failure one.
    """
    if not isinstance(reason, str):
        return Finish("stop") if reason else None
    word = reason.strip().lower()
    if word in _NO_WORDS:
        return None
    # Gateways may add a prefix: "function_call_filter: MALFORMED_FUNCTION_CALL".
    first, _, last = word.rpartition(":")
    known = next((one for one in (word, last.strip(), first) if one in _MEANINGS), "stop")
    if (meaning := _MEANINGS[known]) == _FAILED:
        return Failure(UpstreamUnavailable("The upstream ended its answer with a failure."))
    return Finish(meaning)


def honest_finish(reason: str, *, calls: bool) -> str:
    """Return the finish reason of the delivered answer: `tool_calls` exactly if it has calls."""
    if calls:
        return "tool_calls"
    return "stop" if reason in {"", "tool_calls"} else reason
