"""Report what was played, for people and machines: a running table, transcripts, JUnit.

Does not know how a call is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from ops.call.play import Played
from ops.call.turn import Turn

HEADING = f"{'call':<18} {'result':<10} {'turns':>5} {'first sound':>12} {'took':>7}  what is wrong"

WIDTH = 60
"""Longest reason in the table why a call could not be played."""


def row(played: Played) -> str:
    """Return a call's line of the table."""
    name = played.file.file.stem
    sounds = first_sounds([played])
    slowest = f"{max(sounds):.0f} ms" if sounds else "-"
    names = ", ".join(dict.fromkeys(failure.name for failure in played.failures))
    # The transcript has all of it.
    trouble = _line(played.unplayable)
    why = played.skipped or (trouble if len(trouble) <= WIDTH else f"{trouble[:WIDTH]}…")
    facts = f"{len(played.turns):>5} {slowest:>12} {played.took_s:>5.1f} s"
    return f"{name:<18} {played.result:<10} {facts}  {why or names}".rstrip()


def transcript(played: Played) -> Iterator[str]:
    """Yield a call's lines: who said what, when it began, and what was wrong."""
    yield f"{played.file.file.stem}: {played.file.title}"
    for step, turn, failures in played.turns:
        if step.over:
            yield f'           (over "{step.over}")'
        if turn.caller is not None:
            yield f"{'caller':>10} {turn.caller}"
        yield from _said(turn)
        for failure in failures:
            yield f"{'WRONG':>10} {failure.name}: {_line(failure.seen)}"
    if played.unplayable:
        yield f"{'WRONG':>10} {_line(played.unplayable)}"


def _said(turn: Turn) -> Iterator[str]:
    for post in turn.posts[1:]:
        yield f"{_s(post.sent_at_ms)} the platform asks again ({post.number})"
    ours = "".join(word.text for word in turn.heard if word.is_buffer)
    theirs = "".join(word.text for word in turn.heard if not word.is_buffer)
    for text, is_buffer in ((ours, True), (theirs, False)):
        first = next((w.from_ms for w in turn.heard if w.is_buffer == is_buffer), None)
        if text.strip() and first is not None:
            yield f"{_s(first)} {_line(text)}{'   (buffer words)' if is_buffer else ''}"
    if turn.interrupted_at_ms is not None:
        unheard = _line(turn.unheard_text)
        yield f"{_s(turn.interrupted_at_ms)} interrupted; not heard: {unheard or 'nothing'}"
    for call, outcome in turn.done:
        shows = f" ({outcome.shows})" if outcome and outcome.shows else ""
        yield f"{_s(turn.called_at_ms or 0)} -> {call.name} {_line(call.arguments)}{shows}"
    if turn.platform_says:
        yield f"{'platform':>10} {_line(turn.platform_says)}"
    if turn.ended:
        yield f"{'':>10} the call has ended: {turn.ended}"


def summary(all_played: Sequence[Played]) -> Iterator[str]:
    """Yield the last lines: how many passed, how often each file did, and the percentiles."""
    counts = {
        kind: sum(1 for played in all_played if played.result == kind)
        for kind in ("ok", "failed", "unplayable", "skipped")
    }
    yield ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no calls"
    if all_played and counts["skipped"] == len(all_played):
        yield "nothing was played: with a URL, files without `model:` are (docs/calls.md)"
    by_file: dict[str, list[Played]] = {}
    for played in all_played:
        by_file.setdefault(str(played.file.file), []).append(played)
    for runs in by_file.values():
        good = sum(1 for played in runs if played.result == "ok")
        if len(runs) > 1 and runs[0].result != "skipped":
            rate = f"{good} of {len(runs)}"
            yield f"{runs[0].file.file.stem:<18} passed {rate} times ({good / len(runs):.0%})"
    sounds = first_sounds(all_played)
    if sounds:
        p50, p95 = percentile(sounds, 50), percentile(sounds, 95)
        yield f"first sound: p50 {p50:.0f} ms, p95 {p95:.0f} ms, of {len(sounds)} turns"


def first_sounds(all_played: Sequence[Played]) -> list[float]:
    """Return the waits of all turns with a word or a call."""
    turns = (turn for played in all_played for _, turn, _ in played.turns)
    return [at_ms for turn in turns if (at_ms := turn.first_sound_ms) is not None]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile: the smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def junit(all_played: Sequence[Played]) -> bytes:
    """Return JUnit's XML: a test case per call; one that could not be played is an error."""
    suite = ET.Element(
        "testsuite",
        name="calls",
        tests=str(len(all_played)),
        failures=str(sum(1 for played in all_played if played.result == "failed")),
        errors=str(sum(1 for played in all_played if played.result == "unplayable")),
        skipped=str(sum(1 for played in all_played if played.result == "skipped")),
    )
    for played in all_played:
        case = ET.SubElement(
            suite,
            "testcase",
            classname="calls",
            name=f"{played.file.file.stem}: {played.file.title}",
            time=f"{played.took_s:.3f}",
        )
        if played.skipped:
            ET.SubElement(case, "skipped", message=played.skipped)
        elif played.unplayable:
            ET.SubElement(case, "error", message=_xml(played.unplayable))
        for failure in [] if played.unplayable or played.skipped else played.failures:
            wrong = ET.SubElement(case, "failure", type=failure.name)
            wrong.set("message", _xml(f"{failure.name}: {failure.seen}"))
        if played.turns:
            ET.SubElement(case, "system-out").text = _xml("\n".join(transcript(played)))
    root = ET.Element("testsuites")
    root.append(suite)
    return ET.tostring(root, "unicode", xml_declaration=True).encode()


def _s(at_ms: float) -> str:
    return f"{at_ms / 1000:>8.2f} s"


def _line(text: str) -> str:
    """Return a text on one line that a terminal can show."""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def _xml(text: str) -> str:
    return "".join(each if each.isprintable() or each in "\n\t" else " " for each in text)
