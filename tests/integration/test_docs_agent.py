"""The agent in docs/agents.md, as written there, in virtual time."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from completions import agents, responder
from completions.dialects import chat, responses
from completions.dialects.dialect import Dialect
from completions.speech.phrases import PHRASES
from local.scripted.script import At, Hold, Say, Script, answer
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller, body

pytestmark = pytest.mark.looptime

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/agents.md"
ANSWER = "Yes, three of them."
LOOKUP_MS = 2000


def code_under(heading: str, language: str = "python") -> list[str]:
    """Return the code in this language under a heading of the document."""
    _, _, section = DOCUMENT.read_text().partition(f"\n## {heading}\n")
    section = section.partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> responder.Responder:
    """Install the document's first agent as a module; return its name for a deployment."""
    (code,) = code_under("An example")
    (tmp_path / "agent_of_the_docs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "agent_of_the_docs", raising=False)
    return responder.load("agent_of_the_docs:answer")


def calling(agent: responder.Responder, script: Script, fallback: Script | None = None) -> Caller:
    return Caller(PlayedUpstream(script, fallback=fallback), agent=agent)


async def test_buffer_words_and_then_the_answer_are_heard(agent: responder.Responder) -> None:
    """Buffer words cover the agent's look-up, and then the answer is spoken."""
    caller = calling(agent, answer(ANSWER, at_ms=400))
    heard = await caller.post(body("Do you have helmets?"))
    (first_ms, first), *words = heard.speech
    assert first_ms == 1500
    assert first in PHRASES["en"].buffer
    assert "".join(text for _, text in words) == ANSWER
    assert words[0][0] == LOOKUP_MS + 400
    assert (heard.finishes, heard.ends) == (["stop"], 1)


@pytest.mark.parametrize("dialect", [chat, responses])
async def test_the_model_gets_what_was_found(agent: responder.Responder, dialect: Dialect) -> None:
    """In either API the model is asked with what the agent looked up."""
    caller = calling(agent, answer(ANSWER))
    question = body("Helmets?") if dialect is chat else {"input": "Helmets?", "stream": True}
    await caller.post(question, dialect=dialect)
    (request,) = caller.upstream.requests
    knowledge, *conversation = request.json["messages"]
    assert "helmets: three left" in knowledge["content"]
    assert conversation[-1]["content"] == "Helmets?"


async def test_inside_the_agent_the_race_goes_on(agent: responder.Responder) -> None:
    """If the agent's model stalls, the fallback answers."""
    caller = calling(agent, [Hold()], fallback=answer(ANSWER, at_ms=1000))
    heard = await caller.post()
    assert heard.speech[1][0] == LOOKUP_MS + 3000 + 1000
    assert heard.text.endswith(ANSWER)


async def test_a_hang_up_ends_the_agents_question(agent: responder.Responder) -> None:
    """A hang-up in mid-answer cancels the request to the model."""
    caller = calling(agent, [At(100), Say("One "), Hold()])
    await caller.post(hang_up_ms=4000)
    (request,) = caller.upstream.requests
    assert request.hung_up_at == pytest.approx(request.at + 4.0 - LOOKUP_MS / 1000)


def test_the_documents_own_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document's own test passes with the agent saved where the document says."""
    (agent,), (test,) = code_under("An example"), code_under("A test for it")
    (tmp_path / "shop.py").write_text(agent)
    monkeypatch.setattr(agents, "__path__", [*agents.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "completions.agents.shop", raising=False)
    names: dict[str, Any] = {}
    exec(compile(test, "test_shop.py", "exec"), names)
    (run,) = (name for name in names if name.startswith("test_"))
    names[run]()
