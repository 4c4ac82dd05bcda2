"""CloudFormation's intrinsic functions, as far as `template.yaml` uses them.

Values are resolved only when they are read, and every other function is refused by name and place:
a guessed value would run here and fail on AWS. Does not know what the resources mean, only what
`Ref` and `Fn::GetAtt` return for a few kinds of them.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's
FUNCTION, LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
SECRET, LOG_GROUP = "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"
PSEUDO_PARAMETERS = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "local",
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/local/0",
}
NO_VALUE = object()  # what AWS::NoValue resolves to: the property is absent


class TemplateError(Exception):
    """The template cannot be understood; the message says where and what was expected."""


def text(value: Any) -> str:
    """Return a scalar as CloudFormation passes it on: always a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Resolver:
    """One document with its parameters resolved."""

    def __init__(
        self, document: Mapping[str, Any], file_name: str, given: Mapping[str, str]
    ) -> None:
        self.file_name = file_name
        self.resources: Mapping[str, dict[str, Any]] = document.get("Resources", {})
        self._conditions = document.get("Conditions", {})
        self._parameters = document.get("Parameters", {})
        self._given = given
        self._intrinsics = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::If": self._if,
            "Fn::Equals": self._equals,
            "Fn::Not": self._not,
            "Fn::And": self._and,
            "Fn::Or": self._or,
            "Condition": self.condition,
        }
        for unknown in sorted(set(given) - set(self._parameters)):
            has = ", ".join(sorted(self._parameters))
            raise TemplateError(f"{file_name} has no parameter {unknown}; it has {has}")

    def resolve(self, node: Any, where: str) -> Any:
        """Return a node's value; `where` is its place, for messages. Raises `TemplateError`."""
        if isinstance(node, list):
            items = [self.resolve(item, f"{where}[{i}]") for i, item in enumerate(node)]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in self._intrinsics:
                return self._intrinsics[name](argument, where)
            if name.startswith("Fn::"):
                raise self._refusal(where, name)
        pairs = ((key, self.resolve(item, f"{where}.{key}")) for key, item in node.items())
        return {key: item for key, item in pairs if item is not NO_VALUE}

    def condition(self, name: Any, where: str) -> bool:
        """Whether a condition of the template holds. Raises `TemplateError`."""
        if name not in self._conditions:
            raise TemplateError(f"{self.file_name}: {where}: there is no condition {name}")
        return bool(self.resolve(self._conditions[name], f"Conditions.{name}"))

    def kind(self, logical_id: Any) -> str:
        """Return the type of a resource, or nothing if the template has no such resource."""
        kind: str = self.resources.get(logical_id, {}).get("Type", "")
        return kind

    def name(self, logical_id: str) -> str:
        """Return a resource's name, its logical id where the template leaves the name to AWS."""
        properties = self.resources[logical_id].get("Properties", {})
        for key in ("Name", "FunctionName", "LogGroupName"):
            if key in properties:
                return text(self.resolve(properties[key], f"Resources.{logical_id}.{key}"))
        return logical_id

    def _refusal(self, where: str, what: str) -> TemplateError:
        supported = ", ".join(self._intrinsics)
        return TemplateError(
            f"{self.file_name}: {where}: {what} is not supported on this machine, only {supported}"
        )

    def _ref(self, name: Any, where: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self._parameters:
            return self._parameter(name)
        kind = self.kind(name)
        if kind == SECRET:
            # Without the random suffix that AWS adds: such a partial ARN works for reading, too.
            return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{self.name(name)}"
        if kind in (FUNCTION, LOG_GROUP):
            return self.name(name)
        if kind == LAYER:
            return name
        raise self._refusal(where, f"Ref to {name} ({kind or 'not in the template'})")

    def _parameter(self, name: str) -> Any:
        where = f"{self.file_name}: Parameters.{name}"
        declared = self._parameters[name]
        value = self._given.get(name, declared.get("Default"))
        if value is None:
            raise TemplateError(f"{where} has no default: a value must be given")
        allowed = [text(item) for item in declared.get("AllowedValues", [])]
        if allowed and text(value) not in allowed:
            raise TemplateError(f"{where} is {text(value)}, not one of {', '.join(allowed)}")
        if name in self._given:
            _check(text(value), declared, where)
        if declared.get("Type") == "CommaDelimitedList":
            return [item.strip() for item in text(value).split(",")]
        return value

    def _get_att(self, argument: Any, where: str) -> str:
        name, _, attribute = ".".join(
            [argument] if isinstance(argument, str) else argument
        ).partition(".")
        kind = self.kind(name)
        if (kind, attribute) == (FUNCTION, "Arn"):
            return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name(name)}"
        if (kind, attribute) == (LOG_GROUP, "Arn"):
            return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{self.name(name)}:*"
        if (kind, attribute) == (SECRET, "Id"):
            return str(self._ref(name, where))
        kind = kind or "not in the template"
        raise self._refusal(where, f"Fn::GetAtt {name}.{attribute} ({kind})")

    def _sub(self, argument: Any, where: str) -> str:
        template, own = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in own:
                return text(self.resolve(own[name], where))
            return text(self._get_att(name, where) if "." in name else self._ref(name, where))

        return re.sub(r"\$\{([^}]+)\}", value, template)

    def _join(self, argument: Any, where: str) -> str:
        delimiter, items = argument
        return str(delimiter).join(text(item) for item in self.resolve(items, where))

    def _if(self, argument: Any, where: str) -> Any:
        condition, yes, no = argument
        return self.resolve(yes if self.condition(condition, where) else no, where)

    def _equals(self, argument: Any, where: str) -> bool:
        left, right = (text(self.resolve(item, where)) for item in argument)
        return left == right

    def _not(self, argument: Any, where: str) -> bool:
        return not self.resolve(argument[0], where)

    def _and(self, argument: Any, where: str) -> bool:
        return all(self.resolve(item, where) for item in argument)

    def _or(self, argument: Any, where: str) -> bool:
        return any(self.resolve(item, where) for item in argument)


def _check(value: str, declared: Mapping[str, Any], where: str) -> None:
    """Refuse what CloudFormation would refuse. Raises `TemplateError`."""
    pattern = declared.get("AllowedPattern")
    expected = declared.get("ConstraintDescription") or f"what fits {pattern}"
    if pattern and not re.search(pattern, value):
        raise TemplateError(f"{where} is {value!r}, not {expected}")
    if declared.get("Type") != "Number":
        return
    low, high = declared.get("MinValue", -math.inf), declared.get("MaxValue", math.inf)
    try:
        fits = low <= float(value) <= high
    except ValueError:
        fits = False
    if not fits:
        raise TemplateError(f"{where} is {value!r}, not a number from {low} to {high}")


def read(path: Path) -> dict[str, Any]:
    """Parse a template file, with `!Name x` read as `{"Fn::Name": x}`. Raises `TemplateError`."""
    try:
        document = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, yaml.YAMLError) as error:
        raise TemplateError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise TemplateError(f"{path} is not a template: a mapping was expected")
    return document


class _Loader(yaml.SafeLoader):
    """SafeLoader with CloudFormation's tags, and without dates: 2010-09-09 is a version."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    argument: Any
    if isinstance(node, yaml.ScalarNode):
        argument = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        argument = loader.construct_sequence(node, deep=True)
    else:
        argument = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": argument}


_Loader.add_multi_constructor("!", _intrinsic)
