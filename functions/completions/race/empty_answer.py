"""The end of an answer that had nothing to say."""

from __future__ import annotations

from completions.dialects.deltas import Chunk
from completions.settings import Candidate


class EmptyAnswer(Exception):
    """An answer ended properly, without a word or a tool call.

    `reason` is the model's finish reason; `held` are the chunks that it did send.
    """

    def __init__(self, candidate: Candidate, reason: str, held: list[Chunk]) -> None:
        super().__init__(reason)
        self.candidate = candidate
        self.reason = reason
        self.held = held
