"""The model that every server is measured with: `max_tokens` words, at the requested pace.

The pace is in `stop`, which every server passes on: milliseconds to the first word and between
words.
"""

from __future__ import annotations

import asyncio

from local.scripted.script import Done, Finish, Pause, Raw, Role, Say, Script, Step
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream
from local.scripted.wires import ChatStream

WORD = Raw(ChatStream("m", include_usage=False).render(Say("word ")))


def _scene(request: RecordedRequest) -> Script:
    body = request.json
    first_ms, between_ms = (int(each) for each in body.get("stop", ["0", "0"]))
    words: list[Step] = [WORD] * body["max_tokens"]
    if between_ms:
        words = [step for word in words for step in (word, Pause(between_ms))]
    start: list[Step] = [Pause(first_ms)] if first_ms else []
    return [*start, Role(), *words, Finish(), Done()]


async def _main() -> None:
    async with ScriptedUpstream(_scene) as upstream:
        print(upstream.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
