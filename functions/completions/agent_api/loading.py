"""Find the agent that a deployment names, and report at start what is wrong with it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncGenerator, Callable

from completions.agent_api.conversation import Conversation
from completions.agent_api.events import Event
from completions.observability import adopt, place

Responder = Callable[[Conversation], AsyncGenerator[Event, None]]


class ResponderError(ValueError):
    """`COMPLETIONS_RESPONDER` names nothing that can answer; the message says why."""


def load(name: str) -> Responder:
    """Return the function that `COMPLETIONS_RESPONDER` names.

    Raises:
        ResponderError: there is no such function, or it cannot be a responder.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ResponderError(
            f"COMPLETIONS_RESPONDER must be package.module:function, not {name!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        # The deployment's owner must see why, whatever the module's code raises.
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error} ({place(error)}). "
            "Modules in functions/completions/agents/ are named completions.agents.<module>."
        ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: {module_name!r} has no {function_name!r}."
        )
    if not inspect.isasyncgenfunction(function):
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: {function_name!r} is no async generator function. "
            "It must be `async def` and `yield` Say, Think or Call."
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise ResponderError(
            f"COMPLETIONS_RESPONDER={name!r}: {function_name!r} must take one argument, the "
            f"Conversation, but {error}."
        ) from error
    adopt("completions.agents")
    adopt(module_name)
    responder: Responder = function
    return responder
