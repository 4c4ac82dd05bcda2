"""The model APIs of the matrix: what each refuses, in which words and shape, and how it streams.

A line each, from documentation and public reports: **stand-ins**, sometimes stricter than the real
ones, since each refuses everything that any of its models does. None was checked against the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from local.scripted.script import Reply, Script, answer, calls
from local.scripted.script_player import RecordedRequest
from tests.matrix import refusals, rules, streams
from tests.matrix.refusals import Shape
from tests.matrix.rules import Rule
from tests.matrix.streams import Message, Style

GATEWAY = "http://gateway.invalid/v1"
"""A host of no known provider."""
CACHE = ("prompt_cache_key", "prompt_cache_retention", "safety_identifier")


@dataclass(frozen=True, slots=True)
class StandIn:
    """One model API."""

    name: str
    rules: Sequence[Rule]
    shape: Shape
    style: Style
    message: Message = streams.openai_whole
    url: str = ""
    """The host that identifies it, if any; it is also played behind `GATEWAY`."""
    model: str = "m"
    """The same."""
    responses: bool = False
    """It also has the Responses API."""
    calls: bool = True
    """Its model can call tools."""
    finish: str = ""
    """The finish reason of a whole answer, if it is not OpenAI's."""
    refuses: str = ""
    speaks: str = ""

    def scene(self, request: RecordedRequest, output: streams.Output) -> Script:
        """Return the scene that answers this request."""
        body = request.json
        if request.path.endswith("/responses") and not self.responses:
            return [Reply(b'{"detail":"Not Found"}', 404)]
        for rule in (*self.rules, rules.in_order):
            if (refused := rule(body)) is not None:
                return [self.shape(refused)]
        if request.path.endswith("/responses"):
            return calls(output.call, output.arguments) if output.call else answer(output.text)
        if body.get("stream"):
            return streams.streamed(self.style, output)
        return streams.whole(self.message, output, self.finish)


STAND_INS = (
    StandIn(
        "OpenAI",
        [rules.fields(), rules.metadata, rules.without_tools],
        refusals.openai,
        streams.plain,
        url="https://api.openai.com/v1",
        model="gpt-4.1-mini",
        responses=True,
        refuses="metadata that is not stored, an empty list of tools",
        speaks="padding, fingerprints",
    ),
    StandIn(
        "OpenAI, reasoning",
        [rules.fields(), rules.metadata, rules.reasoning, rules.without_tools],
        refusals.openai,
        streams.plain,
        url="https://api.openai.com/v1",
        model="gpt-5-mini",
        responses=True,
        refuses="`max_tokens`, `temperature` and its kin, one a time",
        speaks="padding, fingerprints",
    ),
    StandIn(
        "Azure OpenAI",
        [rules.fields(), rules.metadata, rules.without_tools],
        refusals.openai,
        streams.azure,
        responses=True,
        refuses="as OpenAI",
        speaks="frames without choices, choices without delta",
    ),
    StandIn(
        "Gemini 3",
        [
            rules.fields(
                *CACHE,
                "store",
                "service_tier",
                words='Unknown name "{0}": Cannot find field.',
                at_once=True,
            ),
            rules.odd_enums,
            rules.history("Gemini"),
            rules.unsigned,
        ],
        refusals.gemini,
        streams.gemini,
        url="https://generativelanguage.googleapis.com/v1beta/openai",
        model="gemini-3-flash-preview",
        finish="stop",
        refuses="unknown fields, enums of numbers, no user turn, nameless results, "
        "unsigned calls; in a list",
        speaks="thoughts as content, calls without index, finish `stop`",
    ),
    StandIn(
        "Vertex",
        [
            rules.fields(*CACHE, words='Unknown name "{0}": Cannot find field.', at_once=True),
            rules.odd_enums,
            rules.history("Gemini"),
        ],
        refusals.gemini,
        streams.vertex,
        url="https://europe-west4-aiplatform.googleapis.com/v1/openapi",
        model="google/gemini-2.5-flash",
        finish="stop",
        refuses="as Gemini, but for signatures",
        speaks="calls in slot 0 with empty ids, the signature in a later frame",
    ),
    StandIn(
        "Anthropic",
        [rules.history("Claude")],
        refusals.anthropic,
        streams.anthropic,
        url="https://api.anthropic.com/v1",
        model="claude-sonnet-4-6",
        refuses="empty contents, the assistant last, no user turn, ids twice",
        speaks="`{}` before the real arguments",
    ),
    StandIn(
        "Mistral",
        [
            rules.fields(
                *CACHE, "max_completion_tokens", "stream_options", "user", "store", at_once=True
            ),
            rules.strict_tools,
            rules.without_tools,
            rules.keys(names=False),
            rules.history("Mistral"),
        ],
        refusals.mistral,
        streams.mistral,
        streams.mistral_whole,
        url="https://api.mistral.ai/v1",
        model="mistral-small-latest",
        refuses="many fields at once, order of roles, ids; in `loc`",
        speaks="content in lists",
    ),
    StandIn(
        "DeepSeek",
        [rules.history("DeepSeek"), rules.unreasoned],
        refusals.deepseek,
        streams.deepseek,
        streams.reasoned_whole,
        url="https://api.deepseek.com/v1",
        model="deepseek-chat",
        refuses="`developer`, content in parts, turns without `reasoning_content`",
        speaks="comments, reasoning beside null",
    ),
    StandIn(
        "Groq",
        [rules.fields(*CACHE, "logprobs"), rules.keys(words=rules.FIELD), rules.history("Groq")],
        refusals.nameless,
        streams.plain,
        url="https://api.groq.com/openai/v1",
        model="llama-3.3-70b-versatile",
        refuses="fields and keys in words alone, `developer`, parts but the user's",
        speaks="as OpenAI",
    ),
    StandIn(
        "Cerebras",
        [
            rules.fields(
                *CACHE,
                "frequency_penalty",
                "presence_penalty",
                words="body.{0}: property 'body.{0}' is unsupported",
                at_once=True,
            ),
            rules.keys(),
        ],
        refusals.cerebras,
        streams.plain,
        url="https://api.cerebras.ai/v1",
        model="gpt-oss-120b",
        refuses="several fields in words, without `error`",
        speaks="as OpenAI",
    ),
    StandIn(
        "OpenRouter",
        [rules.history("Claude")],
        refusals.openrouter,
        streams.openrouter,
        streams.reasoned_whole,
        url="https://openrouter.ai/api/v1",
        model="anthropic/claude-sonnet-4.6",
        refuses="what Anthropic does; the reason is text in `metadata.raw`",
        speaks="comments as data, reasoning twice",
    ),
    StandIn(
        "xAI",
        [rules.dark_names],
        refusals.xai,
        streams.repeats,
        refuses="fields in camel case, `error` is text",
        speaks="the last delta repeats all",
    ),
    StandIn(
        "MiniMax",
        [rules.history("MiniMax")],
        refusals.minimax,
        streams.minimax,
        url="https://api.minimax.io/v1",
        model="MiniMax-M2",
        refuses="several system turns, `developer`; it names nothing",
        speaks="empty roles, all of it again in the last frame",
    ),
    StandIn(
        "DashScope",
        [rules.history("DashScope"), rules.thinking_buffered],
        refusals.dashscope,
        streams.dashscope,
        streams.reasoned_whole,
        url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        model="qwen3-32b",
        refuses="`developer`, thinking unless streamed",
        speaks="empty ids and names in later frames",
    ),
    StandIn(
        "Bedrock",
        [rules.history("Bedrock")],
        refusals.bedrock,
        streams.harmony,
        streams.harmony_whole,
        url="https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1",
        model="openai.gpt-oss-20b-1:0",
        responses=True,
        finish="stop",
        refuses="empty contents, the user not first, the assistant last; only `message`",
        speaks="channels of gpt-oss",
    ),
    StandIn(
        "LiteLLM",
        [
            rules.fields(*CACHE, "stop", "logprobs", at_once=True),
            rules.history("Mistral"),
        ],
        refusals.litellm,
        streams.pings,
        responses=True,
        refuses="a list of parameters in words; Mistral's order and ids behind it",
        speaks="pings with text, a sentence behind the end",
    ),
    StandIn(
        "vLLM",
        [rules.history("vLLM")],
        refusals.vllm,
        streams.vllm,
        responses=True,
        refuses="roles that do not alternate, parts; the error is the body",
        speaks="names in a frame of their own, arguments twice, lone tags, tokens",
    ),
    StandIn(
        "Hermes over vLLM",
        [rules.history("no tools")],
        refusals.vllm,
        streams.hermes,
        streams.hermes_whole,
        finish="stop",
        refuses="calls and results in the history, roles that do not alternate",
        speaks="thoughts and calls as text",
    ),
    StandIn(
        "Qwen over vLLM",
        [rules.history("Qwen")],
        refusals.vllm,
        streams.hermes,
        streams.hermes_whole,
        finish="stop",
        refuses="`developer`, later system turns, no user turn; the error is the body",
        speaks="thoughts and calls as text",
    ),
    StandIn(
        "llama.cpp",
        [rules.history("llama.cpp")],
        refusals.llama_cpp,
        streams.plain,
        refuses="later system turns, arguments that are no JSON; as a 500",
        speaks="as OpenAI",
    ),
    StandIn(
        "Gemma over llama.cpp",
        [rules.history("Gemma")],
        refusals.llama_cpp,
        streams.plain,
        calls=False,
        refuses="system turns, roles that do not alternate",
        speaks="words alone",
    ),
    StandIn(
        "Ollama",
        [rules.history("Ollama")],
        refusals.nameless,
        streams.ollama,
        finish="stop",
        refuses="null contents, `developer`",
        speaks="an empty finish in each frame, a role in each delta",
    ),
)
