"""Which models a caller may name, and what `/models` says about them.

Knows the settings and the upstream's list, not turns.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from completions.errors import ModelNotFound
from completions.observability import log
from completions.settings import Settings
from completions.upstream.client import Upstream


async def available(settings: Settings, upstream: Upstream) -> list[Any]:
    """Return the models: the deployment's own, or else the upstream's list.

    Raises:
        CompletionsError: The upstream has no list, or does not answer.
    """
    primary = settings.candidates[0]
    if names := (primary.model,) if primary.model else settings.allowed_models:
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": "upstream"} for name in names
        ]
    value = from_json(await upstream.get(primary, "/models"))
    data = value.get("data") if isinstance(value, dict) else value
    return data if isinstance(data, list) else []


async def find(name: str, settings: Settings, upstream: Upstream) -> dict[str, Any]:
    """Return the model with this id.

    NOTE: Searches the list. Many model APIs have no path for a single model, and this way no name
    that a caller chooses gets into an upstream's URL.

    Raises:
        ModelNotFound: It is not in the list.
        CompletionsError: As in `available`.
    """
    for one in await available(settings, upstream):
        if isinstance(one, dict) and one.get("id") == name:
            return one
    raise ModelNotFound(f"The model {name[:80]!r} is not served here.", param="model")


def check_allowed(model: str, settings: Settings) -> None:
    """Raise ModelNotFound for a model that this deployment does not serve.

    Platforms that name none (D-ID, Hume) rely on the deployment's. If that is missing, too, log it:
    an API's own words ("you must provide a model") do not say where to put one.
    """
    if not model and not settings.responder and not all(one.model for one in settings.candidates):
        log.warning("model.missing", expected="a model in the request, or UpstreamModel")
    if not settings.allows(model):
        allowed = ", ".join(settings.allowed_models)
        raise ModelNotFound(
            f"The model {model[:80]!r} is not served here. Name one of: {allowed}.", param="model"
        )
