"""What `template.yaml` deploys: its one function, the layers it carries and the secrets.

Starts nothing, and leaves the notation of values to `intrinsics`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.intrinsics import FUNCTION, LAYER, NO_VALUE, SECRET, Resolver, TemplateError, read, text


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to create. `generate` holds the properties of GenerateSecretString."""

    logical_id: str
    name: str
    value: str | None = None
    generate: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that the function carries, and its source folder."""

    logical_id: str
    folder: Path


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """The function as AWS would create it; defaults are AWS's."""

    logical_id: str
    name: str
    handler: str
    runtime: str
    folder: Path
    timeout_s: float = 3
    memory_mb: int = 128
    invoke_mode: str = "BUFFERED"
    snap_start: bool = False
    log_format: str = "Text"
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()


class Template:
    """One template file with its parameters resolved."""

    def __init__(self, path: Path, parameters: Mapping[str, str] | None = None) -> None:
        """Read the file; `parameters` replace the defaults. Raises `TemplateError`."""
        self.path = path
        self._document = read(path)
        self._resolver = Resolver(self._document, path.name, parameters or {})

    @functools.cached_property
    def function(self) -> FunctionSpec:
        """The one function of the template. Raises `TemplateError`."""
        ids = self._all(FUNCTION)
        if len(ids) != 1:
            raise TemplateError(f"{self.path.name}: one {FUNCTION} was expected, not {len(ids)}")
        (logical_id,) = ids
        where = f"Resources.{logical_id}.Properties"
        defaults = self._document.get("Globals", {}).get("Function", {})
        properties = _merge(defaults, self._properties(logical_id))

        def value(name: str, default: Any = NO_VALUE) -> Any:
            found = self._resolver.resolve(properties.get(name, default), f"{where}.{name}")
            found = default if found is NO_VALUE else found
            if found is NO_VALUE:
                raise TemplateError(f"{self.path.name}: {where}.{name} is missing")
            return found

        variables = value("Environment", {}).get("Variables", {})
        return FunctionSpec(
            logical_id=logical_id,
            name=self._resolver.name(logical_id),
            handler=value("Handler"),
            runtime=value("Runtime"),
            folder=self.path.parent / value("CodeUri"),
            timeout_s=float(value("Timeout", 3)),
            memory_mb=int(value("MemorySize", 128)),
            invoke_mode=value("FunctionUrlConfig", {}).get("InvokeMode", "BUFFERED"),
            snap_start=value("SnapStart", {}).get("ApplyOn") == "PublishedVersions",
            log_format=value("LoggingConfig", {}).get("LogFormat", "Text"),
            environment={name: text(item) for name, item in variables.items()},
            layers=tuple(self._layer(item, f"{where}.Layers") for item in value("Layers", [])),
        )

    @functools.cached_property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets to create. Raises `TemplateError`."""
        found = []
        for logical_id in self._all(SECRET):
            where = f"Resources.{logical_id}.Properties"
            properties = self._resolver.resolve(self._properties(logical_id), where)
            value, generate = (
                properties.get(key) for key in ("SecretString", "GenerateSecretString")
            )
            found.append(Secret(logical_id, self._resolver.name(logical_id), value, generate))
        return tuple(found)

    def _all(self, kind: str) -> list[str]:
        """Return the logical ids of all resources of a kind whose condition holds."""
        found = []
        for logical_id, resource in self._resolver.resources.items():
            condition = resource.get("Condition")
            if resource.get("Type") == kind and (
                condition is None
                or self._resolver.condition(condition, f"Resources.{logical_id}.Condition")
            ):
                found.append(logical_id)
        return found

    def _properties(self, logical_id: str) -> dict[str, Any]:
        properties: dict[str, Any] = self._resolver.resources[logical_id].get("Properties", {})
        return properties

    def _layer(self, reference: Any, where: str) -> Layer:
        if self._resolver.kind(reference) != LAYER:
            raise TemplateError(
                f"{self.path.name}: {where}: {reference} is not a {LAYER} of this template: only"
                " layers that are built here can run here"
            )
        folder = self._properties(reference).get("ContentUri")
        return Layer(reference, self.path.parent / self._resolver.resolve(folder, where))


def _merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge SAM's Globals under a resource's own properties: maps merge, the rest is replaced.

    NOTE: SAM joins lists; the lists that matter here (Layers) are in one place only.
    """
    merged = {**defaults, **own}
    for key in defaults.keys() & own.keys():
        if isinstance(defaults[key], dict) and isinstance(own[key], dict):
            merged[key] = _merge(defaults[key], own[key])
    return merged
