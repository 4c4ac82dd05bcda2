"""Judge one turn: compare what was asked and played with what was heard.

Strict, and independent of the code: it only knows what a caller may expect. The figures are
the default settings and the documentation's promises.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.soak.heard import Heard
from tests.soak.kinds.kind import Kind
from tests.soak.script import TOOL, Answer
from tests.soak.upstream import Scene

BUFFER_WORDS = ("Soak one moment... ", "Soak still looking... ")
FAILURE = "Sorry, something went wrong on my side, could you say that again, please?"
BRIDGE = "Sorry, let me start over."
CLOSING = "Sorry, I lost the rest of that, please ask me again."
DECLINED = "I'm sorry, I can't help with that here, is there anything else I can do for you?"
PHRASES = (*(words.strip(". ") for words in BUFFER_WORDS), FAILURE, BRIDGE, CLOSING, DECLINED)

REQUESTS = 3
FIRST_SOUND_MS = 1500
"""`BufferWordsAfterMs`."""
SECOND_SOUND_MS = 5500
"""From the second buffer words to the end of `TurnBudgetMs`; 5 s between first and second."""
SILENCE_MS = 4000
"""`StallTimeoutMs`, between words."""
UNSPOKEN_MS = 8000
"""`ReasoningTimeoutMs`, between words, while the model works."""
AGAIN_MS = 12_000
"""`TurnBudgetMs` again, after words, if no buffer words are left or wanted."""
PAUSE_MS = 2000
"""`BufferWordsAfterMs`, and up to half a second to notice a pause."""
CHAR_MS = 67
"""Words that came are spoken before a pause begins."""
CLOSE_MS = 1000
"""To close the previous answer."""
SLACK_MS = 150
LONGEST_MS = 120_000
"""No turn lasts longer, wherever it runs."""
AFTER_DEADLINE_MS = 500
"""The turn must end this much before Lambda's deadline."""
HANG_UP_MS = 600
AT_ONCE_S = 0.15
"""A repeat after less than this is a repeat without a wait."""
HEALTHY_MS = 800

_TOKEN = re.compile(r"t(\d+)a(\d+)([wmx])(\d+)")
_REF = re.compile(r"t(\d+)a(\d+)c(\d+)")
_OWN_REF = re.compile(r"t\d+a\d+c\d+x*")
_PHRASE = re.compile("|".join(map(re.escape, PHRASES)))
_SILENT = re.compile(r"[\s.,…!?]*")


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A caller's request for a turn."""

    number: int
    chat: bool
    streamed: bool
    speak: bool
    """Failures must be spoken."""
    tools: bool
    shape: str
    """The environment's kind: `single`, `fallback`; `chat only` or not."""
    remaining_ms: int | None = None
    hang_up_ms: int | None = None
    chained: bool = False
    """It continues an earlier response, by its id."""

    @property
    def hurried(self) -> bool:
        """Whether there may be too little time for another answer."""
        # A whole answer has no timer but Lambda's deadline.
        enough_ms = 28_000 if self.streamed else LONGEST_MS
        short = self.remaining_ms is not None and self.remaining_ms < enough_ms
        return short or self.hang_up_ms is not None


@dataclass(slots=True)
class Verdict:
    """The judgement of a turn."""

    outcome: str
    violations: list[tuple[str, str]] = field(default_factory=list)


def judge(
    request: TurnRequest,
    scene: Scene,
    heard: Heard,
    *,
    status: int,
    over_ms: int,
    logged: Iterable[str] = (),
) -> Verdict:
    """Return the verdict on a turn that ended after so many milliseconds."""
    judged = _Judge(request, scene, heard, status, over_ms)
    judged.judge()
    for line in logged:
        judged.note("a bug in the log", line)
    return Verdict(judged.outcome(), judged.violations)


class _Judge:
    def __init__(
        self, request: TurnRequest, scene: Scene, heard: Heard, status: int, over_ms: int
    ) -> None:
        self._request, self._scene, self._heard = request, scene, heard
        self._status, self._over_ms = status, over_ms
        self._kind: Kind = scene.kind
        self.violations: list[tuple[str, str]] = []
        self._phrases = _PHRASE.findall(heard.text)
        self._words = [
            (int(turn), int(answer), owed, int(place))
            for turn, answer, owed, place in _TOKEN.findall(heard.text)
        ]

    def note(self, name: str, particulars: object = "") -> None:
        """Note a violation."""
        self.violations.append((name, str(particulars)[:400]))

    def outcome(self) -> str:
        """Return a word for what the caller got."""
        heard = self._heard
        if self._request.hang_up_ms is not None:
            return "hung up"
        if self._wants_history:
            return "the history wanted"
        if self._status != 200:
            return f"status {self._status}"
        if heard.error is not None:
            return "error event"
        for phrase, name in ((FAILURE, "apology"), (CLOSING, "closed"), (BRIDGE, "bridged")):
            if phrase in self._phrases:
                return name
        if heard.calls:
            return "call"
        return "words" if self._words else "nothing"

    def judge(self) -> None:
        """Note every violation."""
        self._requests()
        self._time()
        if self._request.hang_up_ms is not None:
            return
        for name, particulars in self._heard.breaches:
            self.note(f"protocol: {name}", particulars)
        self._owed()
        self._speech()
        self._calls()
        if self._request.streamed and self._status == 200:
            self._silences()
        self._answered()

    # The upstream's side.

    def _requests(self) -> None:
        scene, answers = self._scene, self._scene.answers
        limit = REQUESTS * (2 if self._kind.redials else 1)
        if len(answers) + scene.probes > limit:
            self.note("too many requests", len(answers) + scene.probes)
        if scene.strangers:
            self.note("another turn's words in a request")
        for answer in answers:
            if answer.over_at is None:
                self.note("a request that goes on behind the turn", answer.number)
        last: dict[str, Answer] = {}
        for answer in answers:
            before = last.get(answer.candidate)
            if (
                before is not None
                and before.faulty
                and self._kind.errs
                and before.over_at is not None
                and answer.at >= before.over_at
                and answer.at - before.over_at < AT_ONCE_S
            ):
                self.note("asked again at once", round(answer.at - before.over_at, 3))
            last[answer.candidate] = answer

    def _time(self) -> None:
        request, over_ms = self._request, self._over_ms
        if over_ms > LONGEST_MS + SLACK_MS:
            self.note("a turn without end", over_ms)
        if request.hang_up_ms is not None and over_ms > request.hang_up_ms + HANG_UP_MS:
            self.note("goes on behind a hang-up", over_ms - request.hang_up_ms)
        if request.remaining_ms is not None:
            late_ms = over_ms - (request.remaining_ms - AFTER_DEADLINE_MS)
            if late_ms > 0:
                self.note("too late for Lambda's deadline", late_ms)

    # The caller's side.

    def _owed(self) -> None:
        request, heard = self._request, self._heard
        if self._wants_history:
            return
        if request.chained and self._status == 200 and (self._words or heard.calls):
            heard_answers = {answer for _, answer, _, _ in self._words}
            for answer in self._scene.answers:
                if answer.number in heard_answers and not answer.body.get("previous_response_id"):
                    self.note("an answer without its history", answer.number)
        if not (request.speak and request.streamed):
            answers = self._scene.answers
            # A program may get an error that the model said nothing.
            must_speak = request.streamed or (answers and (answers[-1].text or answers[-1].refs))
            if self._status == 200 and heard.error is None and must_speak and not self._audible():
                self.note("an empty turn", heard.text)
            return
        if self._status != 200:
            self.note("a status in place of words", f"{self._status} {heard.error}")
        elif heard.error is not None:
            self.note("an error in place of words", heard.error)
        elif not self._audible():
            self.note("an empty turn", repr(heard.text))

    def _audible(self) -> bool:
        spoken = any(map(str.isalnum, self._heard.text))
        return spoken or bool(self._heard.calls)

    def _speech(self) -> None:
        rest = _TOKEN.sub("", _PHRASE.sub("", self._heard.text))
        for answer in self._scene.answers:
            for text in answer.beside:
                rest = rest.replace(text, "", 1)
            if answer.beside:
                # Half a character, as decoders show it.
                rest = rest.replace("\ufffd", "")
        if not _SILENT.fullmatch(rest):
            self.note("words of nobody's", repr(rest[:200]))
        by_answer: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
        order: list[int] = []
        for turn, number, owed, place in self._words:
            if turn != self._request.number:
                self.note("another turn's words", f"t{turn}a{number}{owed}{place}")
                continue
            if owed == "x":
                self.note("what is no speech was spoken", f"t{turn}a{number}{owed}{place}")
            if not order or order[-1] != number:
                order.append(number)
            by_answer[number].append((owed, place))
        if len(set(order)) != len(order):
            self.note("answers mixed", order)
        for answer in self._scene.answers:
            places = [place for _, place in by_answer[answer.number]]
            if any(a >= b for a, b in itertools.pairwise(places)):
                self.note("words doubled or out of order", self._heard.text[-300:])
            owed = [int(place) for _, _, _, place in _TOKEN.findall(answer.text)]
            if places and not self._cut_by_us(answer):
                lost = [place for place in owed if place not in places]
                if lost:
                    self.note("words lost", f"answer {answer.number}: {lost[:8]}")
            if places and answer.plain and len(order) == 1 and set(owed) <= set(places):
                self._exact(answer)

    def _cut_by_us(self, answer: Answer) -> bool:
        """Return True if the caller heard this turn's own end instead of the answer's."""
        return self._request.hurried and not answer.whole

    def _exact(self, answer: Answer) -> None:
        spoken = _PHRASE.sub("", self._heard.text)
        if spoken.strip(" .") != answer.text.strip(" ."):
            self.note("words altered", f"{spoken[:150]!r} for {answer.text[:150]!r}")

    def _calls(self) -> None:
        heard, seen_refs, ids = self._heard, list[str](), list[str]()
        if heard.calls and heard.finish not in {"tool_calls", "length"}:
            self.note("calls with another finish", heard.finish)
        if not heard.calls and heard.finish == "tool_calls":
            self.note("the finish tool_calls without a call")
        for id_, name, arguments in heard.calls:
            ids.append(id_)
            problem = _problem(name, arguments, offered=self._request.tools)
            # Whole answers are for programs, which check calls themselves.
            if problem and self._request.streamed:
                self.note("an invalid call", f"{problem}: {name} {arguments[:150]}")
            match = _REF.search(arguments)
            if match is None:
                continue
            if int(match[1]) != self._request.number:
                self.note("another turn's call", match[0])
            seen_refs.append(match[0])
        if len(set(ids)) != len(ids):
            self.note("two calls under one id", ids)
        if len(set(seen_refs)) != len(seen_refs):
            self.note("a call twice", seen_refs)
        whole = [answer for answer in self._scene.answers if answer.whole and answer.refs]
        if whole and whole[-1] is self._scene.answers[-1] and self._request.tools:
            lost = [ref for ref in whole[-1].refs if ref not in seen_refs]
            if lost and self._kind.good and not self._request.hurried:
                self.note("a call lost", lost)

    # Silence.

    def _silences(self) -> None:
        heard = self._heard
        last_ms, spoke, again = 0, False, False
        moments = [*heard.speech, (heard.ended_ms, "")]
        number = -1
        sounds = buffers = chars = 0
        for at_ms, text in moments:
            if text and not any(map(str.isalnum, text)):
                continue
            gap_ms = at_ms - last_ms
            if not spoke:
                limit_ms = SECOND_SOUND_MS if sounds else FIRST_SOUND_MS
                if not self._request.speak or heard.calls:
                    limit_ms = AGAIN_MS
            else:
                limit_ms = UNSPOKEN_MS if self._kind.unspoken or heard.calls else SILENCE_MS
            match = _TOKEN.search(text)
            if spoke and (again or (match and int(match[2]) != number)):
                # Another answer after words: the wait for it is covered, too.
                covered_ms = SECOND_SOUND_MS if buffers else PAUSE_MS + chars * CHAR_MS
                covered = self._request.speak and buffers < len(BUFFER_WORDS)
                limit_ms = max(limit_ms, covered_ms) + CLOSE_MS if covered else AGAIN_MS
            if gap_ms > limit_ms + SLACK_MS:
                self.note("silence", f"{gap_ms} ms before {text[:40]!r} at {at_ms}")
            if match:
                spoke, number, again = True, int(match[2]), False
            again = again or BRIDGE in text
            again = again or (spoke and self._asked_again_behind(at_ms))
            sounds += 1
            buffers += any(words.strip() in text for words in BUFFER_WORDS)
            chars += len(text)
            last_ms = at_ms

    def _asked_again_behind(self, at_ms: int) -> bool:
        """Return True if a request was made after the first word, so that a new wait began."""
        answers = self._scene.answers
        return len(answers) > 1 and any(
            (answer.at - answers[0].at) * 1000 > at_ms for answer in answers[1:]
        )

    # Whether an answer was due.

    @property
    def _wants_history(self) -> bool:
        """Return True if the caller must send the whole history: earlier turns are unknown."""
        code = (self._heard.error or {}).get("code")
        return self._request.chained and code == "previous_response_not_found"

    def _answered(self) -> None:
        kind, request, answers = self._kind, self._request, self._scene.answers
        if request.hurried or self._wants_history or (kind.slow and not request.streamed):
            return
        fell = [answer for answer in answers if answer.faulty]
        if kind.good:
            self._as_good(one_request=True)
        elif (
            (kind.heals or (kind.refuses and request.shape.startswith("fallback")))
            and fell
            and (self._scene.affects != "each" or kind.window_s)
        ):
            self._as_good(one_request=False)

    def _as_good(self, *, one_request: bool) -> None:
        heard, answers = self._heard, self._scene.answers
        if self._status != 200 or heard.error is not None:
            self.note("no answer", f"{self._status} {heard.error}")
            return
        if {FAILURE, CLOSING, BRIDGE, DECLINED} & {*self._phrases}:
            self.note("no answer", self._phrases)
            return
        if one_request and len(answers) != 1:
            self.note("a good answer was asked for again", len(answers))
        last = answers[-1] if answers else None
        spoken = {number for _, number, _, _ in self._words}
        if last is not None and last.text and not spoken and not heard.calls:
            self.note("the answer was not heard", heard.text[:100])
        if self._kind.name == "healthy":
            first_ms = heard.speech[0][0] if heard.speech else heard.ended_ms
            if first_ms > HEALTHY_MS and self._request.streamed:
                self.note("a healthy answer came late", first_ms)


def _problem(name: str, arguments: str, *, offered: bool) -> str:
    """Return what is wrong with a call; empty if it is valid."""
    if not offered or name != TOOL["name"]:
        return "not offered"

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    try:
        value = json.loads(arguments, object_pairs_hook=once)
        arguments.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    if not isinstance(value, dict) or set(value) != {"ref", "seats"}:
        return "other fields"
    ref, seats = value["ref"], value["seats"]
    if isinstance(ref, str) and not _OWN_REF.fullmatch(ref):
        return "not what the model wrote"
    if not isinstance(ref, str) or type(seats) is not int or not 1 <= seats <= 9:
        return "other types"
    return "too long" if len(arguments) > 256 * 1024 else ""
