"""One turn of a call: what was asked, said, heard and done, and its events.

Times are milliseconds since the turn's first request was sent. Does not know how a turn is played.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ops.call.post import Post
from ops.call.speech import Speech, Word, text_of
from ops.call.system_tools import Outcome
from ops.doctor import strict_reader
from ops.doctor.strict_reader import Trouble

Kind = Literal["asked", "buffer_words", "words", "call", "interrupted", "result", "end"]
Ended = Literal["", "hung_up", "transferred", "voicemail", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Words sound until `until_ms`."""

    kind: Kind
    at_ms: float
    text: str = ""
    until_ms: float | None = None
    name: str = ""
    """The name of a call's or a result's tool."""


@dataclass(slots=True)
class Turn:
    """One turn of the agent."""

    number: int
    caller: str | None
    """What the caller said; None for a turn that follows a tool's result."""
    body: Mapping[str, Any]
    """The request, as it was posted."""
    speech: Speech
    posts: list[Post] = field(default_factory=list)
    interrupted_at_ms: float | None = None
    done: list[tuple[strict_reader.Call, Outcome | None]] = field(default_factory=list)
    """Each call, and what the platform did; None for the agent's own tool."""
    platform_says: str = ""
    """Spoken by the platform itself: a farewell, words before a transfer."""
    troubles: list[Trouble] = field(default_factory=list)
    asks_again: bool = False
    """True if the platform asks at once what to say about a tool's result: `Call.go_on`."""
    ended: Ended = ""

    @property
    def heard(self) -> Sequence[Word]:
        """The words that the caller has completely heard."""
        at_ms = self.interrupted_at_ms
        return self.speech.words if at_ms is None else self.speech.heard_by(at_ms)

    @property
    def heard_text(self) -> str:
        """What the history keeps."""
        return text_of(self.heard)

    @property
    def unheard_text(self) -> str:
        """What came but was not heard."""
        return self.speech.text[len(self.heard_text) :]

    @property
    def calls(self) -> list[strict_reader.Call]:
        """The calls of the answer."""
        return [call for call, _ in self.done]

    @property
    def called_at_ms(self) -> float | None:
        """When the last call was whole."""
        post = self.posts[-1]
        at_ms = post.heard.called_at_ms
        return None if at_ms is None else post.sent_at_ms + at_ms

    @property
    def first_sound_ms(self) -> float | None:
        """When the caller hears the first word, anybody's; without words, when a call came."""
        sounds = (word.from_ms for word in self.speech.words if word.sounds)
        return next(sounds, self.called_at_ms)

    @property
    def answer_ms(self) -> float | None:
        """The same for the model's own words."""
        sounds = (w.from_ms for w in self.speech.words if w.sounds and not w.is_buffer)
        return next(sounds, self.called_at_ms)

    @property
    def buffer_words(self) -> int:
        """How many times the deployment spoke buffer words."""
        return sum(1 for word in self.speech.words if word.is_buffer and "..." in word.text)
