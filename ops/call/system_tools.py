"""The platform's own tools ("system tools"): how they are offered, and what calling one does.

After ElevenLabs' documentation of system tools (2026-11), in our own words. Arguments are checked
as the platform would: a call that it cannot carry out is `unusable`. Does not know the history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ops.call.agent import Tool

Ending = Literal["hung_up", "transferred", "voicemail"]
_TEXT = {"type": "string"}
_TONES = re.compile(r"[0-9*#wW]+")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the platform did about one call."""

    result: Mapping[str, Any] = field(default_factory=dict)
    """The result for the model."""
    ends: Ending | None = None
    asks_again: bool = False
    """True if the model is asked at once what to say about the result."""
    says: str = ""
    """Spoken by the platform: a farewell, words before a transfer."""
    language: str = ""
    shows: str = ""
    """One line for people: where the call goes, which tones sound."""
    state: Mapping[str, Any] = field(default_factory=dict)
    unusable: str = ""
    """Why it could not be carried out; empty if it was."""


def offered(name: str, settings: Mapping[str, Any] | None = None) -> Tool | None:
    """Return a system tool as the platform offers it; None if none has this name.

    Settings: `languages` (codes) of language_detection, `agents` (a line for each) of
    transfer_to_agent, `numbers` (number: who that is) of transfer_to_number, `variables`
    (name: JSON type) of update_state.
    """
    given = dict(settings or {})
    reason = {"reason": _TEXT}
    match name:
        case "end_call":
            says = "Ends the call: the task is done, or the user wants to go."
            return _tool(name, says, {**reason, "message": _TEXT}, ["reason"])
        case "language_detection":
            codes = given.get("languages") or ["en", "de", "es"]
            says = f"Switches the language of the call. Available: {', '.join(codes)}."
            return _tool(name, says, {**reason, "language": _TEXT}, ["reason", "language"])
        case "transfer_to_agent":
            agents = given.get("agents") or ["reception", "billing"]
            listed = " ".join(f"{number}: {who}." for number, who in enumerate(agents))
            says = f"Hands the call to a specialist. {listed}"
            number = {"agent_number": {"type": "integer", "description": "Counted from 0."}}
            return _tool(name, says, {**reason, **number}, ["agent_number"])
        case "transfer_to_number":
            numbers = given.get("numbers") or {"+15550100": "the manager"}
            listed = " ".join(f"{number}: {who}." for number, who in numbers.items())
            says = f"Hands the call to a person. {listed}"
            words = ["transfer_number", "client_message", "agent_message"]
            return _tool(name, says, {**reason, **dict.fromkeys(words, _TEXT)}, words)
        case "skip_turn":
            return _tool(name, "Skips a turn without a word: the user needs a moment.", reason, [])
        case "play_keypad_touch_tone":
            says = "Plays keypad tones (0-9 * #; w and W pause), as phone menus want them."
            return _tool(name, says, {**reason, "dtmf_tones": _TEXT}, ["dtmf_tones"])
        case "voicemail_detection":
            return _tool(name, "Notes that a machine has answered the phone.", reason, ["reason"])
        case "update_state":
            variables = given.get("variables") or {"name": "string"}
            kinds = {each: {"type": kind} for each, kind in variables.items()}
            return _tool(name, "Records what the user said.", kinds, [])
        case _:
            return None


def carry_out(
    tool: Tool, arguments: str, *, already_said: str = "", voicemail_message: str = ""
) -> Outcome | None:
    """Do what the platform does when this tool is called; None if it is not a system tool.

    `already_said` is the turn's text.
    """
    if offered(tool.name) is None:
        return None
    if why := misfit(tool, arguments):
        return Outcome({"error": why}, unusable=why, asks_again=True)
    given: dict[str, Any] = json.loads(arguments)
    done = {"status": "success"}
    match tool.name:
        case "end_call":
            return Outcome(done, ends="hung_up", says=str(given.get("message") or ""))
        case "language_detection":
            code = str(given["language"])
            return Outcome(
                {**done, "language": code}, language=code, shows=f"now in {code}", asks_again=True
            )
        case "transfer_to_agent":
            return Outcome(done, ends="transferred", shows=f"to agent {given['agent_number']}")
        case "transfer_to_number":
            says = str(given.get("client_message") or "")
            shows = f"to {given['transfer_number']}"
            return Outcome(done, ends="transferred", says=says, shows=shows)
        case "play_keypad_touch_tone":
            return Outcome(done, shows=f"tones {given['dtmf_tones']}")
        case "voicemail_detection":
            return Outcome(done, ends="voicemail", says=voicemail_message)
        case "update_state":
            return Outcome(done, state=given, asks_again=True)
        case _:  # skip_turn: a turn with words is not skipped
            why = "skip_turn was called with spoken words" if already_said.strip() else ""
            return Outcome(done, shows="the turn is skipped", unusable=why)


def misfit(tool: Tool, arguments: str) -> str:
    """Return why the arguments do not fit the tool's own schema; empty if they do."""
    try:
        given = json.loads(arguments)
    except ValueError:
        return f"{tool.name}: arguments are no JSON: {arguments[:60]!r}"
    if not isinstance(given, dict):
        return f"{tool.name}: arguments are no object"
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    required: Sequence[str] = tool.parameters.get("required") or ()
    for name in required:
        if name not in given:
            return f"{tool.name}: {name} is missing"
    for name, value in given.items():
        kind = (properties.get(name) or {}).get("type")
        types = _TYPES.get(kind) if isinstance(kind, str) else None
        wrong = types and (
            not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean")
        )
        if wrong:
            return f"{tool.name}: {name} is {json.dumps(value)}, not {kind}"
    listed = _listed(tool)
    for name in ("language", "transfer_number"):
        if name in given and listed and given[name] not in listed:
            return f"{tool.name}: {name} {given[name]!r} is not one of {', '.join(listed)}"
    if "dtmf_tones" in given and not _TONES.fullmatch(given["dtmf_tones"]):
        return f"{tool.name}: {given['dtmf_tones']!r} are no tones"
    return ""


def _listed(tool: Tool) -> list[str]:
    """Return the values that the tool's description lists, if it lists any."""
    if tool.name == "language_detection":
        return tool.description.partition("Available: ")[2].rstrip(".").split(", ")
    if tool.name == "transfer_to_number":
        return re.findall(r"\+\d+", tool.description)
    return []


def _tool(name: str, says: str, properties: Mapping[str, Any], required: list[str]) -> Tool:
    return Tool(
        name, says, {"type": "object", "properties": dict(properties), "required": required}
    )
