"""A scripted model that another program steers, on the model's own port.

`POST /scenes` with `{"scenes": [scene, …]}` sets what is played from now on, one scene per request
and the last one for all others; `GET /requests` returns the bodies of the requests since then.
"""

from __future__ import annotations

import json
from typing import Any

from local.scripted.scene_parser import script
from local.scripted.script import Reply, Script, refused
from local.scripted.script_player import RecordedRequest
from local.scripted.upstream import ScriptedUpstream


class SteeredUpstream(ScriptedUpstream):
    """Serves what it was last told to, and until then a greeting."""

    def __init__(self) -> None:
        super().__init__(responses=True)
        self._since = 0

    @property
    def address(self) -> str:
        """Return the URL at which it is steered."""
        return f"http://127.0.0.1:{self.port}"

    def _script(self, request: RecordedRequest) -> Script:
        if request.path == "/scenes" and request.method == "POST":
            return self._steer(request)
        if request.path == "/requests":
            return [_json(self._asked())]
        return super()._script(request)

    def _steer(self, request: RecordedRequest) -> Script:
        try:
            scenes = [script(scene) for scene in request.json["scenes"]]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            return refused(400, message=str(error))
        if not scenes:
            return refused(400, message="a list of scenes, and none is in it")
        self.plays(*scenes)
        self._since = len(self.requests)
        return [_json({"scenes": len(scenes)})]

    def _asked(self) -> list[Any]:
        return [
            seen.json
            for seen in self.requests[self._since :]
            if seen.method == "POST" and seen.path.endswith(("/chat/completions", "/responses"))
        ]


def _json(value: Any) -> Reply:
    return Reply(json.dumps(value).encode())
