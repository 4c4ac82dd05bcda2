"""One call, kept as the platform keeps it: the caller speaks, words are heard, tools act.

    call = Call(AgentServer(Address.parse(url), key), Agent(prompt="Be brief."), on_event=print)
    turn = call.say("Are you open?")        # blocks until the answer has been heard
    call.interrupt()                        # from another thread: the caller speaks up
    while turn.asks_again:                  # a tool's result is there: the model's turn
        turn = call.go_on()

The history keeps the part of an answer that was heard, in whole words. Once `ended` says how the
call ended, nothing more can be said.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops.call import system_tools
from ops.call.agent import Agent, AgentServer, Tool
from ops.call.history import SILENCE, History, request
from ops.call.post import Post, TurnPosts
from ops.call.speech import Speech, Word, letters
from ops.call.turn import Ended, Event, Kind, Turn
from ops.doctor import strict_reader
from ops.doctor.strict_reader import Trouble

__all__ = ["Call", "Event", "Results", "Turn"]

Results = Callable[[str, Mapping[str, Any]], Any]


class Call:
    """A call in progress. `say` and `go_on` block; `interrupt` is for another thread.

    `speed` is the speed of speech: 20 speaks twenty times as fast. `results` answers for the
    agent's own tools, by name and arguments; if it returns None, the result comes later, by
    `result`. With `hear_out=False` a turn ends with its answer, before all of it could be heard.
    """

    def __init__(
        self,
        server: AgentServer,
        agent: Agent,
        *,
        speed: float = 1.0,
        results: Results = lambda _name, _arguments: None,
        on_event: Callable[[Event], None] = lambda _: None,
        hear_out: bool = True,
    ) -> None:
        self.agent = agent
        self.history = History(agent.first_message)
        self.turns: list[Turn] = []
        self.ended: Ended = ""
        self.language = agent.language
        self.state: dict[str, Any] = {}
        self.waiting: dict[str, str] = {}
        """Calls without a result so far: id and tool."""
        self._server = server
        self._speed = speed
        self._results = results
        self._on_event = on_event
        self._hear_out = hear_out
        self._running: TurnPosts | None = None
        self._gone = threading.Event()

    def say(
        self, text: str, *, until_heard: str = "", late: Mapping[str, Any] | None = None
    ) -> Turn:
        """Say something, and hear the answer: all of it, or up to these words of it.

        `late` are results, by tool, that come right after the caller's words.
        """
        self.history.caller(text)
        for tool, value in (late or {}).items():
            self.result(tool, value)
        return self._turn(text, until_heard)

    def silence(self) -> Turn:
        """Say nothing, until the platform reports that to the agent."""
        return self.say(SILENCE)

    def go_on(self, *, until_heard: str = "") -> Turn:
        """Let the agent speak about the tools' results."""
        return self._turn(None, until_heard)

    def interrupt(self) -> bool:
        """Speak up: close the request, and forget what was not heard.

        Return False if nothing was being said.
        """
        running = self._running
        if running is None:
            return False
        running.leave()
        self._gone.set()
        return True

    def result(self, tool_or_id: str, value: Any) -> bool:
        """Deliver the result of a tool that a call waits for; return False if none does."""
        for call_id, tool in self.waiting.items():
            if tool_or_id in {call_id, tool}:
                del self.waiting[call_id]
                self._keep_result(call_id, tool, value, at_ms=0.0)
                return True
        return False

    def _turn(self, caller: str | None, until_heard: str) -> Turn:
        if self.ended:
            raise RuntimeError(f"the call has ended: {self.ended}")
        agent = self.agent
        body = request(agent, agent.tools, self.history)
        turn = Turn(len(self.turns) + 1, caller, body, Speech(self._speed))
        self.turns.append(turn)
        endpoint = "/responses" if agent.api_type == "responses" else "/chat/completions"
        path = self._server.address.path + endpoint
        running = TurnPosts(self._server, path, body, agent.headers, agent.patience)
        turn.posts = running.posts
        self._gone.clear()
        self._running = running
        try:
            self._listen(turn, running, until_heard)
        finally:
            self._running = None
        self._close(turn)
        return turn

    def _listen(self, turn: Turn, running: TurnPosts, until_heard: str) -> None:
        """Ask, speak the answer, and stop when the caller speaks up."""
        stop: threading.Timer | None = None

        def speak(words: Sequence[Word]) -> None:
            nonlocal stop
            for word in words:
                kind: Kind = "buffer_words" if word.is_buffer else "words"
                self._tell(Event(kind, word.from_ms, word.text, word.until_ms))
            over_ms = turn.speech.over_at_ms(until_heard) if until_heard and not stop else None
            if over_ms is not None:
                stop = threading.Timer(
                    max(0.0, over_ms - running.now_ms()) / 1000, self._leave, (running, over_ms)
                )
                stop.daemon = True
                stop.start()

        def on_opened(post: Post) -> None:
            self._tell(Event("asked", post.sent_at_ms, f"post {post.number}"))

        last = running.ask(lambda text, at_ms: speak(turn.speech.says(text, at_ms)), on_opened)
        if not last.came.left:
            speak(turn.speech.ends(last.ended_at_ms))
        if (self._hear_out or stop) and running.left_at_ms is None:
            self._gone.wait(max(0.0, turn.speech.until_ms - running.now_ms()) / 1000)
            if stop:
                stop.join()
        turn.interrupted_at_ms = running.left_at_ms
        if running.left_at_ms is not None:
            self._tell(Event("interrupted", running.left_at_ms))

    def _leave(self, running: TurnPosts, at_ms: float) -> None:
        running.leave(at_ms)
        self._gone.set()

    def _close(self, turn: Turn) -> None:
        """Keep what was heard, and carry the calls out."""
        last = turn.posts[-1]
        turn.troubles = list(last.heard.troubles)
        calls = [] if last.came.left else last.heard.calls
        self.history.agent(turn.heard_text, calls)
        for call in calls:
            self._carry_out(turn, call)
        if turn.platform_says:
            self.history.agent(turn.platform_says)
        ran_out = last.came.trouble == "timeout"
        if turn.interrupted_at_ms is None and (not last.speaks or ran_out):
            turn.ended = "failed"
        self.ended = turn.ended
        turn.asks_again &= not (self.ended or self.waiting or turn.interrupted_at_ms is not None)
        if self.ended:
            self._tell(Event("end", last.ended_at_ms, self.ended))

    def _carry_out(self, turn: Turn, call: strict_reader.Call) -> None:
        at_ms = turn.called_at_ms or 0.0
        self._tell(Event("call", at_ms, call.arguments, name=call.name))
        tool = self._tool(call.name)
        if tool is None:
            turn.done.append((call, None))
            turn.troubles.append(Trouble("unknown_tool", f"{call.name} was not offered"))
            self._keep_result(call.id, call.name, {"error": "there is no such tool"}, at_ms)
            turn.asks_again = True
            return
        outcome = system_tools.carry_out(
            tool,
            call.arguments,
            already_said=turn.speech.text,
            voicemail_message=self.agent.voicemail_message,
        )
        turn.done.append((call, outcome))
        if outcome is None:
            self._use(turn, tool, call, at_ms)
            return
        if outcome.unusable:
            turn.troubles.append(Trouble("unusable_call", outcome.unusable))
        if outcome.says:
            if letters(outcome.says) in letters(turn.speech.text):
                turn.troubles.append(Trouble("said_twice", outcome.says))
            turn.platform_says = outcome.says
            self._tell(Event("words", at_ms, outcome.says, name=call.name))
        self.language = outcome.language or self.language
        self.state |= outcome.state
        turn.ended = outcome.ends or turn.ended
        turn.asks_again |= outcome.asks_again
        self._keep_result(call.id, call.name, outcome.result, at_ms)

    def _use(self, turn: Turn, tool: Tool, call: strict_reader.Call, at_ms: float) -> None:
        """Call one of the agent's own tools."""
        if why := system_tools.misfit(tool, call.arguments):
            turn.troubles.append(Trouble("unusable_call", why))
            self._keep_result(call.id, call.name, {"error": why}, at_ms)
            turn.asks_again = True
            return
        value = self._results(call.name, json.loads(call.arguments))
        if value is None:
            self.waiting[call.id] = call.name
            return
        self._keep_result(call.id, call.name, value, at_ms)
        turn.asks_again = True

    def _keep_result(self, call_id: str, tool: str, value: Any, at_ms: float) -> None:
        content = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        self.history.result(call_id, content)
        self._tell(Event("result", at_ms, content, name=tool))

    def _tool(self, name: str) -> Tool | None:
        return next((tool for tool in self.agent.tools if tool.name == name), None)

    def _tell(self, event: Event) -> None:
        self._on_event(event)
