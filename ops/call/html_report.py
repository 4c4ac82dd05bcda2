"""The failing calls as one HTML page: each turn's words, and its time line drawn to scale.

One file, without scripts and without anything from another host. Does not judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ops.call.play import Played
from ops.call.speech import Word, text_of
from ops.call.turn import Turn

AXIS_MS = 6000.0
"""All lines have the same scale, so that waits can be compared by eye."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f27; --paper: #fcfbf7; --faint: #8a8f98;
  --ours: #d99a26; --theirs: #1f6f5c; --tool: #7a55a5; --wrong: #c2362f; --rule: #ddd9cf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6df; --paper: #16181d; --rule: #343840;
  --theirs: #4fae94; --tool: #a98bd6; --wrong: #ef6a62; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 3rem 0 0; } .caller, .note { color: var(--faint); margin: 1.5rem 0 0; }
.said { font-size: 1.25rem; margin: .1rem 0; } .ours { color: var(--ours); }
s { color: var(--faint); } code { color: var(--tool); }
.wrong { color: var(--wrong); font-weight: 600; margin: .2rem 0; }
svg { width: 100%; height: 3rem; display: block; } text { font-size: 11px; fill: var(--faint); }
"""


def page(all_played: Sequence[Played]) -> str:
    """Return the page of the calls that failed or could not be played; of all, if none did."""
    shown = [p for p in all_played if p.result in {"failed", "unplayable"}] or all_played
    body = "\n".join(line for played in shown for line in _call(played))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Calls</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<style>{_STYLE}</style></head><body><h1>Calls</h1>\n{body}\n</body></html>\n"
    )


def _call(played: Played) -> Iterator[str]:
    yield f"<h2>{escape(played.file.title)}</h2>"
    yield f'<p class="note">{escape(str(played.file.file))} · {played.result}</p>'
    if played.unplayable:
        yield f'<p class="wrong">{escape(played.unplayable)}</p>'
    for _, turn, failures in played.turns:
        yield from _turn(turn)
        for failure in failures:
            yield f'<p class="wrong">{escape(failure.name)}: {escape(failure.seen)}</p>'


def _turn(turn: Turn) -> Iterator[str]:
    caption = "after the tool's result" if turn.caller is None else f"“{escape(turn.caller)}”"
    yield f'<p class="caller">{caption}</p>'
    words = "".join(_words(turn))
    calls = "".join(
        f" <code>{escape(call.name)} {escape(call.arguments)}</code>" for call in turn.calls
    )
    platform = f" <code>{escape(turn.platform_says)}</code>" if turn.platform_says else ""
    yield f'<p class="said">{words}{calls}{platform}</p>'
    yield _time_line(turn)


def _words(turn: Turn) -> Iterator[str]:
    for is_buffer, text in _runs(turn.heard):
        yield f'<span class="ours">{escape(text)}</span>' if is_buffer else escape(text)
    if turn.unheard_text:
        yield f"<s>{escape(turn.unheard_text)}</s>"


def _runs(words: Sequence[Word]) -> Iterator[tuple[bool, str]]:
    """Yield neighbours of the same kind together."""
    start = 0
    for at in range(1, len(words) + 1):
        if at == len(words) or words[at].is_buffer != words[start].is_buffer:
            yield words[start].is_buffer, text_of(words[start:at])
            start = at


def _time_line(turn: Turn) -> str:
    parts = [_bar(0, min(turn.first_sound_ms or AXIS_MS, AXIS_MS), "var(--rule)", "silence")]
    for word in turn.heard:
        colour = "var(--ours)" if word.is_buffer else "var(--theirs)"
        if word.from_ms < AXIS_MS:
            parts.append(_bar(word.from_ms, word.until_ms, colour, word.text))
    parts += [_mark(post.sent_at_ms, "var(--wrong)") for post in turn.posts[1:]]
    if turn.interrupted_at_ms is not None:
        parts.append(_mark(turn.interrupted_at_ms, "var(--wrong)"))
    if turn.called_at_ms is not None:
        parts.append(_mark(turn.called_at_ms, "var(--tool)"))
    for second in range(int(AXIS_MS / 1000) + 1):
        parts.append(f'<text x="{second * 1000 / AXIS_MS:.1%}" y="44">{second}</text>')
    return f'<svg role="img" aria-label="time line in seconds">{"".join(parts)}</svg>'


def _bar(from_ms: float, until_ms: float, colour: str, title: str) -> str:
    width = max(0.0, min(until_ms, AXIS_MS) - from_ms) / AXIS_MS
    return (
        f'<rect x="{from_ms / AXIS_MS:.2%}" width="{width:.2%}" y="8" height="16"'
        f' fill="{colour}"><title>{escape(title.strip())}</title></rect>'
    )


def _mark(at_ms: float, colour: str) -> str:
    x = f"{at_ms / AXIS_MS:.2%}"
    return f'<line x1="{x}" x2="{x}" y1="2" y2="30" stroke="{colour}" stroke-width="2"/>'
