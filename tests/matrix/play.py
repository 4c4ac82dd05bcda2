"""One cell of the matrix: a platform's calls, played against a stand-in, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.scripted.script import Script
from local.scripted.script_player import RecordedRequest
from tests.matrix import platforms
from tests.matrix.platforms import STORIES, Turn
from tests.matrix.stand_ins import GATEWAY, StandIn
from tests.matrix.streams import Output
from tests.support import history
from tests.support.in_process import PlayedUpstream
from tests.support.turns import Caller
from tests.support.ways import CHAT, RESPONSES, Answer, Way, in_virtual_time

REQUESTS = 3
"""The requests that a turn may make."""


@dataclass(slots=True)
class Cell:
    """The results of all calls of one platform with one stand-in."""

    known: int = 0
    """Requests of its first turn, if the host or the model is known."""
    learnt: int = 0
    """The most requests of any turn, if neither is known."""
    late: bool = False
    """True if then a first turn ended in an apology; see `is_late`."""
    wrong: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The cell in the table."""
        return "✗" if self.wrong else f"{self.known or '·'} / {self.learnt}{'*' * self.late}"


@dataclass(frozen=True, slots=True)
class Played:
    """One turn of a call."""

    requests: int
    faults: tuple[str, ...] = ()


def play(platform: str, stand_in: StandIn) -> Cell:
    """Play all calls, with a known and an unknown provider."""
    cell = Cell()
    sent, session = platforms.body(platform), platforms.session(platform)
    for known in {bool(stand_in.url), False}:
        for name, story in STORIES.items():
            for way in (CHAT, RESPONSES):
                played = call(stand_in, way, list(story(sent)), known=known, session=session)
                if not known and is_late(stand_in, way, played):
                    cell.late = True
                    played[0] = Played(played[0].requests)
                where = f"{name}, {way}, {'known' if known else 'unknown'}"
                cell.wrong += [f"{where}, {fault}" for fault in faults(played)]
                if not known:
                    cell.learnt = max(cell.learnt, *(one.requests for one in played))
                elif name == "words" and way is CHAT:
                    cell.known = played[0].requests
    return cell


def is_late(stand_in: StandIn, way: Way, played: Sequence[Played]) -> bool:
    """Return True if a missing endpoint left too few requests for the other refusals."""
    first = played[0]
    spent = way is RESPONSES and not stand_in.responses and first.requests == REQUESTS
    return bool(spent and first.faults)


def call(
    stand_in: StandIn, way: Way, turns: Sequence[Turn], *, known: bool, session: str = ""
) -> list[Played]:
    """Play the turns of one call in a new environment."""
    return in_virtual_time(_call(stand_in, way, turns, session, known))


def faults(played: Sequence[Played]) -> Iterator[str]:
    """Yield what was wrong in a call; its last turn must take one request."""
    for number, turn in enumerate(played, 1):
        for fault in turn.faults:
            yield f"turn {number}: {fault}"
        if turn.requests > (1 if number == len(played) else REQUESTS):
            yield f"turn {number}: {turn.requests} requests"


async def _call(
    stand_in: StandIn, way: Way, turns: Sequence[Turn], session: str, known: bool
) -> list[Played]:
    due = Output()

    def scene(request: RecordedRequest) -> Script:
        return stand_in.scene(request, due)

    upstream = PlayedUpstream(scene)
    url, model = (stand_in.url, stand_in.model) if known else (GATEWAY, "m")
    caller = Caller(upstream, upstream_base_url=url, upstream_model=model)
    played = []
    for sent, output in turns:
        due = output if stand_in.calls or not output.call else platforms.WORDS
        before = len(upstream.requests)
        try:
            heard = await way.post(caller, _request(way, sent), session=session)
            found = tuple(_faults(way.read(heard), due))
        except AssertionError as error:
            found = (f"broken: {error}"[:200],)
        played.append(Played(len(upstream.requests) - before, found))
    return played


def _request(way: Way, sent: dict[str, Any]) -> dict[str, Any]:
    """Return the platform's request for this API."""
    if way is CHAT or "input" in sent:
        return sent
    chats = {"messages", "tools", "max_tokens", "stop", "seed", "stream_options"}
    more = {name: value for name, value in sent.items() if name not in chats}
    if "tools" in sent:
        more["tools"] = [{"type": "function", **tool["function"]} for tool in sent["tools"]]
    messages = [one | {"content": _as_items(one["content"])} for one in sent["messages"]]
    return more | history.of(way, messages)


def _as_items(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [{**part, "type": "input_text"} for part in content]


def _faults(answer: Answer, due: Output) -> Iterator[str]:
    if answer.error is not None:
        yield f"an error: {answer.error['message']}"[:300]
        return
    if answer.text.strip() != due.text:
        yield f"heard {answer.text!r}"[:200]
    calls = [(due.call, json.loads(due.arguments))] if due.call else []
    if answer.calls != calls:
        yield f"called {answer.calls}"[:200]
    if answer.finish != due.finish:
        yield f"finished with {answer.finish}"
