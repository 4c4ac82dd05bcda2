"""The agents of docs/frameworks.md, as written there, in whole turns.

`make test-agents` runs them with the frameworks; the SDK's agent also runs with all other tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from completions.speech.phrases import PHRASES
from local.scripted.script import Script, answer, calls
from local.scripted.script_player import RecordedRequest
from local.template import Template
from tests.support.agent_turn import play
from tests.support.in_process import PlayedUpstream
from tests.support.tools import TRANSFER
from tests.support.turns import Caller, body
from tests.support.ways import in_virtual_time

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/frameworks.md"
NO_TRACING = "OPENAI_AGENTS_DISABLE_TRACING"
INSTALLED = {
    ".venv-agents": ["The OpenAI SDK alone", "LangGraph", "pydantic-ai", "openai-agents"],
    ".venv-agents-llama-index": ["The OpenAI SDK alone", "LlamaIndex"],
}
"""The packages of each environment."""
HERE = INSTALLED.get(Path(sys.prefix).name, ["The OpenAI SDK alone"])
# The frameworks' warnings are not our faults.
pytestmark = pytest.mark.filterwarnings("ignore")

LOOKS = {"tools": [{"stock": {"product": "helmet"}}]}
TRANSFERS = {"tools": [{"transfer_to_agent": {"agent_number": 1}}]}


def example(name: str) -> str:
    """Return the code under a heading of the document."""
    found = re.search(
        rf"^## {name}\n.*?^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, name
    return found[1]


@pytest.fixture(scope="module", params=HERE)
def agent(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Write an example into a module; return its name for a deployment."""
    module = "example_" + re.sub(r"\W", "_", request.param).lower()
    folder = tmp_path_factory.mktemp(module)
    (folder / f"{module}.py").write_text(example(request.param))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(
            NO_TRACING, Template(ROOT / "template.yaml").function.environment[NO_TRACING]
        )
        patched.syspath_prepend(folder)
        yield f"{module}:answer"


def test_words_are_heard_as_they_come(agent: str) -> None:
    """Each word is sent when the model has said it."""
    heard = play(agent, "Helmets?", model={"say": "Yes we have three.", "pace_ms": 100})
    assert heard.speech == [(0, "Yes "), (100, "we "), (200, "have "), (300, "three.")]


def test_it_runs_its_own_tool(agent: str) -> None:
    """After the agent's own tool the model is asked again, and the caller hears that answer."""
    heard = play(agent, "Helmets?", model=[LOOKS, "Three are left."])
    assert heard.text == "Three are left."
    _, asked_again = heard.questions
    called, result = asked_again["messages"][-2:]
    assert called["tool_calls"][0]["function"]["name"] == "stock"
    assert (result["role"], result["content"]) == ("tool", "helmet: three left.")


def test_words_before_its_tool_are_heard(agent: str) -> None:
    """Words before a call of the agent's own tool are spoken."""
    heard = play(agent, "Helmets?", model=[{"say": "Let me look. ", **LOOKS}, "Three are left."])
    assert heard.text == "Let me look. Three are left."


def test_the_platforms_tool_goes_to_the_platform(agent: str) -> None:
    """A call of the platform's tool is delivered, and nothing follows it."""
    heard = play(agent, "A person!", model=[TRANSFERS, "Never mind."], tools=[TRANSFER])
    assert heard.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert heard.text == ""
    (question,) = heard.questions
    offered = [tool["function"]["name"] for tool in question["tools"]]
    assert offered == ["stock", "transfer_to_agent"]


def test_both_kinds_of_tools_are_served_at_once(agent: str) -> None:
    """The agent's own tool is run, and the platform's call is delivered."""
    both = {"tools": [*LOOKS["tools"], *TRANSFERS["tools"]]}
    heard = play(agent, "Both!", model=[both, "Three are left."], tools=[TRANSFER])
    assert heard.calls == [("transfer_to_agent", {"agent_number": 1})]
    assert heard.text == "Three are left."


def test_a_history_with_a_tools_result_arrives(agent: str) -> None:
    """The model gets the platform's calls and their results in order."""
    call = {"name": "transfer_to_agent", "arguments": '{"agent_number": 1}'}
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "A person, please."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_9", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_9", "content": "Nobody is there."},
    ]
    heard = play(agent, history, model="Sorry, nobody is there.", tools=[TRANSFER])
    assert heard.text == "Sorry, nobody is there."
    (question,) = heard.questions
    system, user, called, result = question["messages"]
    assert (system["content"], user["content"]) == ("Be brief.", "A person, please.")
    (told,) = called["tool_calls"]
    assert told["function"]["name"] == "transfer_to_agent"
    assert json.loads(told["function"]["arguments"]) == {"agent_number": 1}
    assert (result["tool_call_id"], result["content"]) == ("call_9", "Nobody is there.")


def test_the_model_gets_a_long_calls_history(agent: str) -> None:
    """The model gets the whole history of a long call."""
    history = [{"role": "system", "content": "Be brief."}]
    for number in range(40):
        history.append({"role": "user", "content": f"{number} {'why ' * 200}"})
        history.append({"role": "assistant", "content": f"{number} {'since ' * 200}"})
    history.append({"role": "user", "content": "And now?"})
    (question,) = play(agent, history, model="Yes.").questions
    assert len(question["messages"]) == len(history)
    assert question["messages"][0]["content"] == "Be brief."


def test_a_silent_user_is_not_answered_with_old_words(agent: str) -> None:
    """If the assistant spoke last, the model is asked, and its old words are not repeated."""
    history = [
        {"role": "user", "content": "Helmets?"},
        {"role": "assistant", "content": "How old is the child?"},
    ]
    heard = play(agent, history, model="Are you still there?")
    assert heard.text == "Are you still there?"


def test_callers_at_once_do_not_mix(agent: str) -> None:
    """One agent answers several callers at once, each in its own words and with its own tool."""

    def echoes(request: RecordedRequest) -> Script:
        last = request.json["messages"][-1]
        if last["role"] == "tool":
            return answer(f"{last['content']}")
        return calls("stock", {"product": last["content"]}, at_ms=100)

    async def scene() -> list[str]:
        caller = Caller(PlayedUpstream(echoes), responder=agent)
        heard = await asyncio.gather(*(caller.post(body(f"bell {n}")) for n in range(12)))
        return [one.text for one in heard]

    assert in_virtual_time(scene()) == [f"bell {n}: three left." for n in range(12)]


def test_buffer_words_cover_it(agent: str) -> None:
    """Buffer words are spoken if the model's first word is late."""
    slow = {"say": "Yes.", "after_ms": 2500}
    heard = play(agent, "Helmets?", model=slow, first_token_timeout_ms=5000)
    (first_ms, first), (answer_ms, answer) = heard.speech
    assert (first_ms, answer_ms, answer) == (1500, 2500, "Yes.")
    assert first.removesuffix("... ") in {one.rstrip(".… ") for one in PHRASES["en"].buffer}


def test_the_fallback_replaces_a_dead_model(agent: str) -> None:
    """If the first model is dead, the fallback answers the same question."""
    heard = play(agent, "Helmets?", model={"fails": 503}, fallback="Yes, three.")
    assert heard.text == "Yes, three."


def test_without_any_model_the_caller_hears_an_apology(agent: str) -> None:
    """If no model answers, the caller hears the apology, and the agent is not run again."""
    heard = play(agent, "Helmets?", model={"fails": 503}, fallback={"fails": 503})
    assert heard.text == PHRASES["en"].failure
    assert len(heard.questions) == 3


def test_a_hang_up_reaches_the_model(agent: str) -> None:
    """A hang-up cancels the framework's request at once."""
    heard = play(agent, "Helmets?", model={"say": "Yes we have", "pace_ms": 500}, hang_up_ms=700)
    assert [words for _, words in heard.speech] == ["Yes ", "we "]
    assert heard.hung_up == [True]
