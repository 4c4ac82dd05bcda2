"""The run: one check after the other, each on a new connection, and what each shows.

A check's row never depends on the next one; what shows only across several (stream or lump, cold
start) gets separate rows at the end. Does not know how rows are printed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from ops.doctor import answer_analysis, diagnosis, events, pace, strict_reader
from ops.doctor.causes import CAUSES
from ops.doctor.strict_reader import Call, Heard, Trouble
from ops.doctor.turns import ERRORS_AS_STATUS, TURNS, Turn
from ops.doctor.wire import Exchange, Piece, exchange
from ops.pasted_url import Address

SLOW_WORDS_MS = 2000.0
UPLOAD_S = 40.0
"""Extra time for the 2 MB, which a phone's connection needs."""
RUN_LIMIT_S = 300.0
REFUSED_KEYS = {"no key": {}, "a wrong key": {"authorization": "Bearer not-a-key-of-anybody"}}

Result = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was tried, and what came back. Times in ms from the request's first byte."""

    name: str
    came_back: str
    troubles: tuple[Trouble, ...] = ()
    first_byte_ms: float | None = None
    first_words_ms: float | None = None
    skipped: bool = False

    @property
    def result(self) -> Result:
        """The row in one word."""
        if self.skipped:
            return "skipped"
        if not self.troubles:
            return "ok"
        return "warning" if all(CAUSES[t.cause].warning for t in self.troubles) else "failed"


@dataclass(slots=True)
class CheckRun:
    """One run to one address. Call `rows` once; the rest holds what was seen."""

    address: Address
    key: str
    model: str
    timeout_s: float = 20.0
    patience_ms: float = 4000.0
    """How long the platform waits for the first words."""
    streaming: pace.Pace | None = None
    cold_start: pace.ColdStart | None = None
    _ends_at: float = 0.0
    _blocked: str = ""
    _calls: Sequence[Call] = ()
    _short_ms: list[float] = field(default_factory=list)
    _long: tuple[Turn, pace.LongAnswer] | None = None
    _alive: bool = False
    """True once a turn succeeded: from then on no failure stops the run."""

    def rows(self) -> Iterator[Finding]:
        """Make the run, yielding each row as soon as it is known."""
        self._ends_at = time.monotonic() + RUN_LIMIT_S
        knock, first_ms = self._first_contact()
        yield knock
        self._note(knock)
        for turn in TURNS:
            if turn.path.startswith("{bare}") and not self.address.path.endswith("/v1"):
                continue
            yield self._unless_blocked(turn.name, partial(self._turn, turn))
            if turn.kind == "long":
                for name, headers in REFUSED_KEYS.items():
                    yield self._unless_blocked(name, partial(self._refusal, name, headers))
        if not self._blocked:
            yield self._arrival()
        yield self._start(first_ms)

    def _unless_blocked(self, name: str, check: Callable[[], Finding]) -> Finding:
        if not self._blocked and time.monotonic() > self._ends_at:
            self._blocked = f"the run took over {RUN_LIMIT_S:.0f} s"
        if self._blocked:
            return Finding(name, f"not tried: {self._blocked}", skipped=True)
        finding = check()
        self._note(finding)
        return finding

    def _note(self, finding: Finding) -> None:
        if not self._alive and any(CAUSES[t.cause].dead_end for t in finding.troubles):
            self._blocked = f"see `{finding.name}`"

    def _ask(
        self,
        turn: Turn,
        headers: Mapping[str, str] | None = None,
        enough: Callable[[Sequence[Piece]], bool] | None = None,
    ) -> Exchange:
        base = self.address.path
        body = {"model": self.model, **turn.body(self._calls)}
        return self._post(
            turn.path.format(base=base, bare=base.removesuffix("/v1")),
            {"authorization": f"Bearer {self.key}", **(headers or {})},
            body,
            self.timeout_s + (UPLOAD_S if turn.kind == "large" else 0),
            enough,
        )

    def _post(
        self,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        timeout_s: float,
        enough: Callable[[Sequence[Piece]], bool] | None = None,
    ) -> Exchange:
        return exchange(
            self.address,
            "POST",
            path,
            headers={"content-type": "application/json", "accept": "*/*", **headers},
            body=json.dumps(body).encode(),
            timeout_s=timeout_s,
            enough=enough,
        )

    # -- who is let in

    def _health(self) -> Exchange:
        return exchange(
            self.address, "GET", f"{self.address.path}/health", headers={}, timeout_s=self.timeout_s
        )

    def _first_contact(self) -> tuple[Finding, float | None]:
        """Make the cheapest request first: it meets the cold start, if there is one."""
        came = self._health()
        troubles = []
        if came.trouble:
            troubles.append(Trouble(came.trouble, came.detail))
        elif found := diagnosis.of_text(came):
            troubles.append(found)
        elif came.status not in {200, 404, 405} and not _key_is_refused(came):
            troubles.append(diagnosis.of_status(came))
        if not self.address.tls and not self.address.is_loopback:
            troubles.append(Trouble("plain_http", self.address.origin))
        connected = "" if came.connect_ms is None else f"connected in {came.connect_ms:.0f} ms"
        text = f"{came.status or came.trouble}; {connected}" if connected else came.detail
        return Finding("GET /health", text, tuple(troubles), came.first_byte_ms), came.first_byte_ms

    def _refusal(self, name: str, headers: Mapping[str, str]) -> Finding:
        body = {"model": self.model, **TURNS[0].body(())}
        path = f"{self.address.path}/chat/completions"
        came = self._post(path, headers, body, self.timeout_s)
        if _key_is_refused(came):
            return Finding(name, f"{came.status}, as it should be", (), came.first_byte_ms)
        if came.trouble and not came.status:
            trouble = Trouble(came.trouble, came.detail)
        elif came.status == 200:
            trouble = Trouble("open_door", f"200, {len(came.body)} bytes")
        else:
            trouble = diagnosis.of_status(came)
        return Finding(name, trouble.detail, (trouble,), came.first_byte_ms)

    # -- a turn

    def _turn(self, turn: Turn) -> Finding:
        if turn.kind == "leave":
            return self._interruption(turn)
        came = self._ask(turn, ERRORS_AS_STATUS if turn.kind == "large" else None)
        heard, troubles = answer_analysis.heard(came, turn)
        if turn.kind == "large" and self._alive:
            troubles = answer_analysis.judge_long_prompt(came, troubles)
        elif not troubles and (heard.first_words_ms or 0) > self.patience_ms:
            came, heard, troubles = self._again(turn, heard)
        troubles = [*troubles, *self._reasons(turn, troubles)]
        if turn.kind == "shape" and self._alive:
            troubles = answer_analysis.judge_odd_history(troubles)
        words_ms = heard.first_words_ms
        if not troubles and turn.kind != "large":
            troubles = list(self._remarks(turn, heard))
        failed = any(not CAUSES[trouble.cause].warning for trouble in troubles)
        if not failed:
            self._alive = True
            self._remember(turn, came, heard)
        text = (
            (troubles[-1].detail or troubles[-1].cause)
            if failed
            else answer_analysis.describe(came, heard)
        )
        return Finding(turn.name, text, tuple(troubles), came.first_byte_ms, words_ms)

    def _reasons(self, turn: Turn, troubles: Sequence[Trouble]) -> list[Trouble]:
        """Return why the caller hears an apology, by asking again for errors instead."""
        if not any(trouble.cause in answer_analysis.APOLOGIES for trouble in troubles):
            return []
        _, reasons = answer_analysis.heard(self._ask(turn, ERRORS_AS_STATUS), turn)
        return [each for each in reasons if not CAUSES[each.cause].warning]

    def _again(self, turn: Turn, late: Heard) -> tuple[Exchange, Heard, list[Trouble]]:
        """Do what the platform does when its patience ends: send the same turn again."""
        came = self._ask(turn)
        heard, troubles = answer_analysis.heard(came, turn)
        seen = f"{late.first_words_ms:.0f} ms"
        if not troubles:
            too_late = (heard.first_words_ms or 0) > self.patience_ms
            if too_late:
                troubles = [Trouble("late_words", f"{seen}, again {heard.first_words_ms:.0f} ms")]
            else:
                troubles = [Trouble("late_once", f"{seen}, again {heard.first_words_ms:.0f} ms")]
        return came, heard, troubles

    def _remarks(self, turn: Turn, heard: Heard) -> Iterator[Trouble]:
        words_ms = heard.first_words_ms or 0
        if heard.had_buffer_words:
            model_ms = heard.model_words[0][0] if heard.model_words else heard.called_at_ms or 0
            yield Trouble("buffer_words", f"the model's first word after {model_ms:.0f} ms")
        elif words_ms > SLOW_WORDS_MS:
            yield Trouble("slow_words", f"{words_ms:.0f} ms")
        if turn.kind == "call" and not heard.calls:
            yield Trouble("no_call", repr(heard.text[:60]))

    def _remember(self, turn: Turn, came: Exchange, heard: Heard) -> None:
        if turn.kind == "call":
            self._calls = heard.calls
        words = heard.model_words
        if turn.kind == "short" and words:
            self._short_ms.append(words[0][0])
        if turn.kind == "long":
            self._long = turn, answer_analysis.long_answer(came, heard)

    def _interruption(self, turn: Turn) -> Finding:
        """Leaves after the first words, like a platform when the caller speaks."""

        def enough(pieces: Sequence[Piece]) -> bool:
            stream = events.read(pieces)
            return strict_reader.hear(stream, responses=turn.responses).first_words_ms is not None

        came = self._ask(turn, enough=enough)
        heard, troubles = answer_analysis.heard(came, turn)
        words_ms = heard.first_words_ms
        if came.left:
            # What we did not wait for is no fault; an apology is one, however early we left.
            troubles = [each for each in troubles if each.cause in answer_analysis.APOLOGIES]
        troubles = [*troubles, *self._reasons(turn, troubles)]
        if troubles or not came.left:
            text = troubles[-1].detail if troubles else "the answer ended before we could leave"
            return Finding(turn.name, text, tuple(troubles), came.first_byte_ms, words_ms)
        return Finding(turn.name, "left after the first words", (), came.first_byte_ms, words_ms)

    # -- what only several requests show

    def _arrival(self) -> Finding:
        name = "stream or lump"
        if self._long is None:
            self.streaming = pace.Pace("unknown", "no long answer was heard")
            return Finding(name, f"cannot tell: {self.streaming.why}")
        turn, answer = self._long
        self.streaming = pace.judge(answer, self._short_ms)
        if self.streaming.verdict == "lump" and not self.streaming.certain:
            # Once may be chance: a model that was slow to start, and then quick.
            came = self._ask(turn)
            heard, _ = answer_analysis.heard(came, turn)
            second = pace.judge(answer_analysis.long_answer(came, heard), self._short_ms)
            if second.verdict != "lump":
                self.streaming = pace.Pace(
                    "unknown", f"{self.streaming.why}; asked again, {second.why}"
                )
        if self.streaming.verdict == "lump":
            return Finding(name, "one lump", (Trouble("lump", self.streaming.why),))
        verdict = "a stream" if self.streaming.verdict == "stream" else "cannot tell"
        return Finding(name, f"{verdict}: {self.streaming.why}")

    def _start(self, first_ms: float | None) -> Finding:
        later = [] if self._blocked else [self._health().first_byte_ms for _ in range(3)]
        self.cold_start = pace.cold_start(first_ms, [each for each in later if each is not None])
        verdict = {True: "met", False: "none met", None: "cannot tell"}[self.cold_start.met]
        text = f"{verdict}: {self.cold_start.why}"
        return Finding("cold start", text, skipped=bool(self._blocked))


def _key_is_refused(came: Exchange) -> bool:
    """Return True for a refusal of the key alone, which Bedrock's runtime says with a 403."""
    if came.status == 403:
        return diagnosis.of_status(came).cause == "upstream_auth"
    return came.status == 401
