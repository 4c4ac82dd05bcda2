"""What an agent learns about its caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from completions.dialects import chat
from completions.web.caller_info import with_caller_info
from tests.support.deployment import calling, deploy
from tests.support.turns import body


def told(headers: dict[str, str], **more: Any) -> tuple[str, dict[str, str]]:
    """Return id and headers as an agent gets them."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": raw})
    content = body(**more)
    parsed = with_caller_info(chat.parse(content), request, content)
    return parsed.call_id, dict(parsed.headers)


def test_ids_and_a_deployments_own_headers_are_shown() -> None:
    """They identify the caller."""
    shown = {
        "X-Conversation-Id": "conv_1",
        "X-Tenant-ID": "7",
        "X-Agent-Line": "Sales",
        "X-Completions-On-Failure": "error",
        "User-Agent": "ElevenLabs/1.0",
        "Accept-Language": "de",
    }
    assert told(shown) == ("conv_1", {name.lower(): value for name, value in shown.items()})


def test_no_header_that_may_hold_a_key_is_shown() -> None:
    """This covers known key headers, names that suggest a key, and any unknown header."""
    hidden = (
        "Authorization",
        "X-Api-Key",
        "Api-Key",
        "Cookie",
        "X-Agent-Token",
        "X-Agent-Auth",
        "X-Secret-Id",
        "X-Api-Key-Id",
        "X-Amz-Security-Token",
        "X-Signature-Id",
        "X-Whatever",
    )
    assert told(dict.fromkeys(hidden, "sk-1")) == ("", {})


def test_the_call_is_named_by_its_body_too() -> None:
    """A header that names it wins."""
    extra = {"elevenlabs_extra_body": {"conversation_id": "conv_2"}}
    assert told({}, **extra)[0] == "conv_2"
    assert told({"x-call-id": "conv_1"}, **extra)[0] == "conv_1"


async def test_an_agent_learns_who_is_calling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the call's id and headers, none of which is a key."""
    monkeypatch.syspath_prepend(tmp_path)
    agent = (
        "from completions.responder import Say\n\nasync def who(one):\n"
        "    yield Say(' '.join([one.id, *one.headers.values(), str(one.headers)]))\n"
    )
    (tmp_path / "who_agent.py").write_text(agent)
    async with calling(deploy("http://unused.invalid", responder="who_agent:who")) as client:
        headers = {"x-conversation-id": "conv_1", "x-agent-line": "sales"}
        asked = body(stream=False)
        text = (await client.post("/v1/chat/completions", json=asked, headers=headers)).text
    assert "conv_1" in text
    assert "sales" in text
    assert "bearer" not in text.lower()
    assert "authorization" not in text.lower()
