import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.connect.agent import WantedSettings, changes, other_changes, own_llms, patch

WANTED = WantedSettings("https://a/v1", "secret_1", "name", 5.5, "m")


def agent(**prompt: Any) -> dict[str, Any]:
    return {"name": "n", "conversation_config": {"agent": {"prompt": prompt}}}


def patched(before: dict[str, Any], wanted: WantedSettings = WANTED) -> dict[str, Any]:
    """Return the agent after a platform that replaces the innermost objects applied the patch."""
    after, body = copy.deepcopy(before), patch(before, wanted)
    ours = body["conversation_config"]["agent"]["prompt"]
    after.setdefault("conversation_config", {}).setdefault("agent", {}).setdefault("prompt", {})
    after["conversation_config"]["agent"]["prompt"] |= ours
    after["platform_settings"] = after.get("platform_settings") or {}
    after["platform_settings"] |= body["platform_settings"]
    return after


HEADERS = st.dictionaries(
    st.sampled_from(["x-shop", "X-Conversation-ID", "x-conversation-id", "Authorization"]),
    st.one_of(st.text(), st.fixed_dictionaries({"secret_id": st.text()})),
)
CUSTOM = st.fixed_dictionaries(
    {},
    optional={
        "url": st.text(),
        "model_id": st.one_of(st.none(), st.text()),
        "api_key": st.one_of(st.none(), st.just({"env_var_label": "l"})),
        "auth_connection": st.one_of(st.none(), st.just({"auth_connection_id": "a"})),
        "api_type": st.sampled_from(["chat_completions", "responses", "websocket", None]),
        "request_headers": st.one_of(st.none(), HEADERS),
    },
)
PROMPTS = st.fixed_dictionaries(
    {},
    optional={
        "llm": st.sampled_from(["gpt-4o", "custom-llm", None]),
        "custom_llm": st.one_of(st.none(), CUSTOM),
        "max_tokens": st.one_of(st.none(), st.integers(-1, 9000)),
        "cascade_timeout_seconds": st.one_of(st.none(), st.floats(2, 15), st.integers(2, 15)),
    },
)


@settings(deadline=None)  # a busy machine is not a failure
@given(PROMPTS)
def test_one_patch_is_enough_for_any_agent(prompt: dict[str, Any]) -> None:
    """One patch leaves nothing to change for any agent, and changes nothing else."""
    before = agent(**prompt)
    after = patched(before)
    assert changes(after, WANTED) == []
    assert patched(after) == after
    assert other_changes(before, after) == []


@pytest.mark.parametrize("empty", [{}, {"conversation_config": None}, agent()])
def test_an_empty_agent_can_be_connected(empty: dict[str, Any]) -> None:
    """Missing or null parts of the agent count as empty."""
    assert changes(patched(empty | {"conversation_config": {}}), WANTED) == []
    assert len(changes(empty, WANTED)) == 9


def test_the_patch_sends_only_our_fields() -> None:
    """Only our four fields of the prompt are sent, since the platform refuses a whole prompt."""
    body = patch(agent(prompt="p", tools=[{}], tool_ids=["t"], temperature=None), WANTED)
    prompt = body["conversation_config"]["agent"]["prompt"]
    assert prompt.keys() == {"llm", "custom_llm", "max_tokens", "cascade_timeout_seconds"}
    assert body.keys() == {"conversation_config", "platform_settings"}


def test_other_overrides_are_sent_back() -> None:
    """The other switches survive a platform that replaces the object."""
    before = agent() | {"platform_settings": {"overrides": {"other": {"x": True}}}}
    overrides = patch(before, WANTED)["platform_settings"]["overrides"]
    assert overrides == {"other": {"x": True}, "custom_llm_extra_body": True}


@pytest.mark.parametrize(
    ("had", "told", "limit"),
    [(None, None, 5000), (-1, None, 5000), (0, None, 5000), (700, None, 700), (700, -1, -1)],
)
def test_a_limit_that_was_set_is_kept(had: int | None, told: int | None, limit: int) -> None:
    """Only an agent without a token limit is given the usual one."""
    body = patch(agent(max_tokens=had), replace(WANTED, max_tokens=told))
    assert body["conversation_config"]["agent"]["prompt"]["max_tokens"] == limit


def test_a_websocket_becomes_chat_completions() -> None:
    """An API type that cannot run behind the deployment is not kept."""
    body = patch(agent(custom_llm={"api_type": "websocket"}), WANTED)
    assert body["conversation_config"]["agent"]["prompt"]["custom_llm"]["api_type"] == (
        "chat_completions"
    )


def test_a_key_from_an_environment_is_not_a_missing_secret() -> None:
    """An agent whose key comes from an environment is not treated as one without a secret."""
    before = patched(agent())
    before["conversation_config"]["agent"]["prompt"]["custom_llm"]["api_key"] = {
        "env_var_label": "LABEL"
    }
    [change] = changes(before, replace(WANTED, secret_id=None))
    assert (change.what, change.old, change.new) == ("API key", "environment LABEL", "secret name")


def test_other_changes_are_found_by_path() -> None:
    """A lost prompt, a changed voice and a missing switch are reported by their paths."""
    before = agent(prompt="p") | {"platform_settings": {"overrides": {"other": True}}}
    before["conversation_config"]["tts"] = {"voice_id": "a"}
    after = patched(before)
    del after["conversation_config"]["agent"]["prompt"]["prompt"]
    after["conversation_config"]["tts"]["voice_id"] = "b"
    del after["platform_settings"]["overrides"]["other"]
    assert other_changes(before, after) == [
        "conversation_config.agent.prompt.prompt",
        "conversation_config.tts.voice_id",
        "platform_settings.overrides.other",
    ]


def test_workflow_nodes_with_a_model_of_their_own_are_named() -> None:
    """A workflow node is named if it uses another model than ours."""

    def node(label: str, llm: str | None) -> dict[str, Any]:
        return agent(llm=llm) | {"label": label}

    nodes = {"a": node("Sales", "gpt-4o"), "b": node("", None), "c": node("", "custom-llm")}
    nodes |= {"d": node("", "gpt-5"), "e": {"type": "end"}}
    assert own_llms({"workflow": {"nodes": nodes}}) == ["Sales", "d"]
    assert own_llms({}) == []
