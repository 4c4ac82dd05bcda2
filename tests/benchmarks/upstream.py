"""The model that every server is measured with: no delay, `max_tokens` chunks.

With `"stop": "paced"` it takes 10 ms a chunk, so that many streams are open at once.
"""

from __future__ import annotations

import asyncio

from tests.support.script import Done, Finish, Pause, Raw, Role, Say, Script, Seen, Step
from tests.support.upstream import ScriptedUpstream
from tests.support.wires import ChatStream

WORD = Raw(ChatStream("m", include_usage=False).render(Say("word ")))


def _scene(request: Seen) -> Script:
    body = request.json
    words: list[Step] = [WORD] * body["max_tokens"]
    if body.get("stop") == "paced":
        words = [step for word in words for step in (word, Pause(10))]
    return [Role(), *words, Finish(), Done()]


async def _main() -> None:
    async with ScriptedUpstream(_scene) as upstream:
        print(upstream.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
