import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

EVENTS = Path(__file__).resolve().parents[2] / "events"
NAMES = sorted(path.stem for path in EVENTS.glob("url-*.json"))
WITHOUT_KEY = {"url-chat-no-key", "url-health"}


def load(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def body(event: dict[str, Any]) -> bytes | None:
    text = event.get("body")
    if text is None:
        return None
    return base64.b64decode(text, validate=True) if event["isBase64Encoded"] else text.encode()


def test_every_kind_of_request_has_an_event() -> None:
    """There is an event for each kind of request that the README names."""
    names = "chat-stream chat chat-tools chat-extra-body chat-base64 chat-no-key not-found models"
    assert {f"url-{name}" for name in [*names.split(), "health", "warm"]} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_event_is_what_a_function_url_sends(name: str) -> None:
    """An event is consistent: version 2.0, lower-case headers, one path, one host."""
    event = load(name)
    context = event["requestContext"]
    assert event["version"] == "2.0"
    assert event["rawPath"] == context["http"]["path"]
    assert event["headers"]["host"] == context["domainName"]
    assert context["domainName"].startswith(f"{context['domainPrefix']}.lambda-url.")
    assert all(header == header.lower() for header in event["headers"])
    assert all(isinstance(value, str) for value in event["headers"].values())
    assert isinstance(context["timeEpoch"], int)
    sent = body(event)
    assert (sent is None) == (context["http"]["method"] == "GET")
    if sent is not None:
        assert int(event["headers"]["content-length"]) == len(sent)
        assert event["headers"]["content-type"] == "application/json"


@pytest.mark.parametrize("name", NAMES)
def test_an_event_carries_the_local_key_and_no_other(name: str) -> None:
    """An event can be sent to `make run` unchanged and has no real key."""
    headers = load(name)["headers"]
    shown = [headers[one] for one in ("authorization", "x-api-key") if one in headers]
    own = "local-caller-key" if "x-api-key" in headers else "Bearer local-caller-key"
    assert shown == ([] if name in WITHOUT_KEY else [own])


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("url-chat")])
def test_a_chat_event_is_what_a_voice_platform_sends(name: str) -> None:
    """A chat event posts messages with a boolean `stream` and has the feature in its name."""
    event = load(name)
    sent = json.loads(body(event) or b"")
    assert sent["stream"] is (name != "url-chat")
    assert sent["messages"]
    assert event["isBase64Encoded"] is (name == "url-chat-base64")
    assert ("tools" in sent) is name.startswith("url-chat-tool")
    assert ("elevenlabs_extra_body" in sent) is (name == "url-chat-extra-body")


def test_the_variables_for_sam_local_are_declared(template: dict[str, Any]) -> None:
    """`sam local invoke --env-vars` overrides only variables that the template declares."""
    functions = json.loads((EVENTS / "env.json").read_text())
    for logical_id, values in functions.items():
        function = template["Resources"][logical_id]["Properties"]
        assert values.keys() <= function["Environment"]["Variables"].keys()
        for placeholder in values.values():
            (output,) = re.findall(r"output (\w+)", placeholder)
            assert output in template["Outputs"]
