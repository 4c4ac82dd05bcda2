"""One call that the page steers, and what it shows of it.

The caller's words wait in a queue; one thread plays them. Every change is kept under a key with a
number, so that a page that opens late, or again, gets all that it missed. Knows no HTTP.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ops.call.agent import Agent, AgentServer, Tool
from ops.call.call import Call
from ops.call.system_tools import offered
from ops.call.turn import Event
from ops.talk import saved_call
from ops.talk.turn_json import turn_json

SYSTEM_TOOLS = (
    "end_call",
    "language_detection",
    "transfer_to_agent",
    "transfer_to_number",
    "skip_turn",
    "play_keypad_touch_tone",
    "voicemail_detection",
    "update_state",
)
COMMENTS = {"x-completions-comments": "candidates"}
"""Asks the deployment what each candidate did (docs/logs.md)."""
DEFAULTS: dict[str, Any] = {
    "prompt": "You answer the phone of a small shop. Be brief and friendly.",
    "first_message": "",
    "language": "",
    "api_type": "chat_completions",
    "system_tools": ["end_call"],
    "tools": [],
}


class Conversation:
    """The call on the page.

    `behaviour` returns how the model behaves now; `logs` finds a call's lines by its id.
    """

    call: Call

    def __init__(
        self,
        server: AgentServer,
        *,
        model: str,
        speed: float = 1.0,
        behaviour: Callable[[], str] | None = None,
        logs: Callable[[str], list[str]] = lambda _: [],
    ) -> None:
        self._server = server
        self._model = model
        self._speed = speed
        self._behaviour = behaviour
        self._logs = logs
        self._changed = threading.Condition()
        self._speaking = threading.Lock()
        self._version = 0
        self._shown: dict[str, tuple[int, str]] = {}
        self._number = 0
        self.begin({})

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begin a new call with these settings of the agent; raise ValueError for unusable ones."""
        settings = {**DEFAULTS, **settings}
        call_id = f"talk-{secrets.token_hex(6)}"
        agent, results = _agent(settings, self._model, call_id)
        if self._number:
            self._actions.put(None)
            self.call.interrupt()
        with self._changed:
            self._number += 1
            self._shown.clear()
        self.settings = settings
        self._call_id = call_id
        self._results = results
        self._busy = False
        self._behaviours: dict[int, str] = {}
        self._late_results: dict[str, Any] = {}
        self._began_at = time.monotonic()
        self._actions: queue.SimpleQueue[Callable[[Call], Any] | None] = queue.SimpleQueue()
        number = self._number
        self.call = Call(
            self._server,
            agent,
            speed=self._speed,
            results=lambda name, _: self._results.get(name),
            on_event=lambda event: self._happened(number, event),
        )
        self._show_call()
        threading.Thread(target=self._play, args=(self.call, self._actions), daemon=True).start()

    def say(self, text: str) -> None:
        """Let the caller say something, which interrupts the agent if it speaks."""
        self._do(lambda call: call.say(text))

    def interrupt(self) -> bool:
        """Let the caller interrupt without a word; return False if nothing is being said."""
        return self.call.interrupt()

    def result(self, call_id: str, value: Any) -> None:
        """Deliver a late result of a tool, and let the agent go on."""

        def bring(call: Call) -> Any:
            if not call.result(call_id, value):
                return None
            self._late_results[call_id] = value
            return None if call.waiting or call.ended else call.go_on()

        self._do(bring)

    def changes(self, after: int, timeout_s: float) -> tuple[int, list[str]]:
        """Wait for changes newer than `after`; return the newest number and each one, as JSON."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > after, timeout_s)
            news = [(name, *each) for name, each in self._shown.items() if each[0] > after]
            # The page needs the call to draw its turns.
            news.sort(key=lambda each: (each[0] != "call", each[1]))
            return self._version, [text for _, _, text in news]

    def logs(self) -> list[str]:
        """Return the deployment's log line of each request so far, in order, if it is known.

        The line of a request that the caller left comes a moment later.
        """
        return self._logs(self._call_id)

    def saved(self) -> str:
        """Return the call as a file that `make call` plays."""
        name = f"Saved from the page, {datetime.now().astimezone():%Y-%m-%d %H:%M}"
        behaviours = self._behaviours if self._behaviour else None
        results = saved_call.Results(self._results, self._late_results)
        return saved_call.call_file(name, self.call, self.settings, behaviours, results)

    def show_behaviour(self) -> None:
        """Tell the page that the model's behaviour has changed."""
        self._show_call()

    def _do(self, what: Callable[[Call], Any]) -> None:
        # Under the lock, so that nothing interrupts what was just said.
        with self._speaking:
            if self._busy:
                self.call.interrupt()
            self._actions.put(what)

    def _play(self, call: Call, actions: queue.SimpleQueue[Callable[[Call], Any] | None]) -> None:
        while (what := actions.get()) is not None:
            if call.ended:
                continue
            with self._speaking:
                self._busy = True
            try:
                turn = what(call)
                self._finished(call)
                while turn is not None and turn.asks_again and actions.empty() and not call.ended:
                    turn = call.go_on()
                    self._finished(call)
            except Exception as error:  # the page must show whatever went wrong
                self._show("problem", {"text": f"{type(error).__name__}: {error}"})
            finally:
                with self._speaking:
                    self._busy = False
            self._show_call()

    def _happened(self, number: int, event: Event) -> None:
        if number != self._number:
            return  # of a call that the page has left
        if event.kind == "asked" and event.at_ms == 0:
            self._began_at = time.monotonic()
            if self._behaviour:
                self._behaviours[self.call.turns[-1].number] = self._behaviour()
        self._show_turn(self.call, live=True)

    def _finished(self, call: Call) -> None:
        if call is self.call:
            self._show_turn(call, live=False)

    def _show_turn(self, call: Call, *, live: bool) -> None:
        turn = call.turns[-1]
        now_ms = (time.monotonic() - self._began_at) * 1000 if live else None
        drawn = turn_json(turn, now_ms=now_ms)
        drawn["results"] = _results_before(turn.body)
        drawn["waits_for"] = [c["id"] for c in drawn["calls"] if c["id"] in call.waiting]
        drawn["behaviour"] = self._behaviours.get(turn.number, "well")
        self._show(f"turn {turn.number}", {"turn": drawn})

    def _show_call(self) -> None:
        call = self.call
        self._show(
            "call",
            {
                "call": {
                    "server": self._server.address.authority,
                    "settings": self.settings,
                    "system_tools": SYSTEM_TOOLS,
                    "patience_ms": call.agent.patience.cascade_timeout_s * 1000,
                    "language": call.language,
                    "state": call.state,
                    "ended": call.ended,
                    "busy": self._busy,
                    "behaviour": self._behaviour() if self._behaviour else None,
                }
            },
        )

    def _show(self, key: str, value: Mapping[str, Any]) -> None:
        with self._changed:
            self._version += 1
            text = json.dumps({**value, "of": self._number}, ensure_ascii=False)
            self._shown[key] = (self._version, text)
            self._changed.notify_all()


def _agent(settings: Mapping[str, Any], model: str, call_id: str) -> tuple[Agent, dict[str, Any]]:
    """Return the agent that the page describes, and the results of its own tools."""
    if settings["api_type"] not in {"chat_completions", "responses"}:
        raise ValueError(f"no API type: {settings['api_type']!r}")
    system = [offered(name) for name in settings["system_tools"]]
    own: list[Tool] = []
    results: dict[str, Any] = {}
    for each in settings["tools"]:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ValueError(  # noqa: TRY004 - one error for whatever cannot be used
                'each tool of your own is {"name": …, "parameters": …, "result": …}'
            )
        empty = {"type": "object", "properties": {}}
        own.append(Tool(each["name"], each.get("description", ""), each.get("parameters", empty)))
        if each.get("result") is not None:
            results[each["name"]] = each["result"]
    language = str(settings["language"])
    agent = Agent(
        prompt=str(settings["prompt"]),
        first_message=str(settings["first_message"]),
        language=language or "en",
        tools=(*(tool for tool in system if tool), *own),
        api_type=settings["api_type"],
        model=model,
        extra_body={"language": language} if language else None,
        headers={**COMMENTS, "x-conversation-id": call_id},
    )
    return agent, results


def _results_before(body: Mapping[str, Any]) -> list[str]:
    """Return the tools' results that a request ends with."""
    results: list[str] = []
    for item in reversed(body.get("messages") or body.get("input") or []):
        if item.get("role") != "tool" and item.get("type") != "function_call_output":
            break
        results.insert(0, str(item.get("content") or item.get("output") or ""))
    return results
