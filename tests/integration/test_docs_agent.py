"""The agent in docs/agents.md: installed as it stands there, and listened to in virtual time."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from completions import responder
from completions.dialects import chat, responses
from completions.dialects.dialect import Dialect
from completions.speech.phrases import PHRASES
from tests.support.in_process import PlayedUpstream
from tests.support.script import At, Hold, Say, Script, answer
from tests.support.turns import Caller, body

pytestmark = pytest.mark.looptime

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/agents.md"
ANSWER = "Yes, three of them."
LOOKUP_MS = 2000


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> responder.Responder:
    """The only Python in the document, as a module, by the name that a deployment gives."""
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "agent_of_the_docs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "agent_of_the_docs", raising=False)
    return responder.load("agent_of_the_docs:answer")


def calling(agent: responder.Responder, script: Script, fallback: Script | None = None) -> Caller:
    caller = Caller(PlayedUpstream(script, fallback=fallback))
    caller.state = dataclasses.replace(caller.state, responder=agent)
    return caller


async def test_filler_then_answer_are_heard(agent: responder.Responder) -> None:
    """While the agent looks something up, buffer words are spoken, and then the answer."""
    caller = calling(agent, answer(ANSWER, at_ms=400))
    heard = await caller.post(body("Do you have helmets?"))
    (filler_ms, filler), *words = heard.speech
    assert filler_ms == 1500
    assert filler in PHRASES["en"].buffer
    assert "".join(text for _, text in words) == ANSWER
    assert words[0][0] == LOOKUP_MS + 400
    assert (heard.finishes, heard.ends) == (["stop"], 1)


@pytest.mark.parametrize("dialect", [chat, responses])
async def test_the_model_is_told_what_was_found(
    agent: responder.Responder, dialect: Dialect
) -> None:
    """Whichever API the platform uses, the model is asked with the agent's knowledge."""
    caller = calling(agent, answer(ANSWER))
    question = body("Helmets?") if dialect is chat else {"input": "Helmets?", "stream": True}
    await caller.post(question, dialect=dialect)
    (request,) = caller.upstream.requests
    knowledge, *conversation = request.json["messages"]
    assert "helmets: three left" in knowledge["content"]
    assert conversation[-1]["content"] == "Helmets?"


async def test_inside_the_agent_the_race_goes_on(agent: responder.Responder) -> None:
    """A model that stalls when the agent asks it gives way to the fallback as ever."""
    caller = calling(agent, [Hold()], fallback=answer(ANSWER, at_ms=1000))
    heard = await caller.post()
    assert heard.speech[1][0] == LOOKUP_MS + 3000 + 1000
    assert heard.text.endswith(ANSWER)


async def test_a_hang_up_ends_the_agents_question(agent: responder.Responder) -> None:
    """When the caller leaves in mid-answer, the model is no longer asked."""
    caller = calling(agent, [At(100), Say("One "), Hold()])
    await caller.post(hang_up_ms=4000)
    (request,) = caller.upstream.requests
    assert request.hung_up_at == pytest.approx(request.at + 4.0 - LOOKUP_MS / 1000)
