"""The server that the agent will use: a deployed stack, or any URL that the operator names.

Reads a stack with the AWS CLI, so that any credentials that work there work here. The caller key
comes through a pipe or the environment; it is never an argument, and never printed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from ops.aws_cli import aws
from ops.command_problem import Problem, usage
from ops.pasted_url import Address

SHORTEST_S, LONGEST_S = 2.0, 15.0  # the range of `cascade_timeout_seconds`
USUAL_S = 4.0  # its default


@dataclass(frozen=True, slots=True)
class Deployment:
    """A server, its caller key, and the settings that matter to an agent."""

    url: str
    """The base URL in the platform's form."""
    key: str = field(repr=False)
    model: str = ""
    """The model that the deployment always asks; empty if the caller's choice counts."""
    buffer_words_after_ms: int = 1500
    turn_budget_ms: int = 12_000
    allowed_models: tuple[str, ...] = ()  # empty: a caller may name any

    def model_for(self, named: str, before: str) -> str:
        """Return the model name that the agent should send: the given, the deployed or the old one.

        Raises:
            Problem: There is none, or the deployment does not take it.
        """
        model = named or self.model or before
        if not model:
            raise usage(
                "Which model? Neither the deployment (UpstreamModel) nor the agent names one: "
                "MODEL=gpt-4.1-mini, or what your model API calls it."
            )
        if not self.model and self.allowed_models and model not in self.allowed_models:
            raise usage(
                f"The deployment refuses the model {model}: MODEL=... may be one of "
                f"{', '.join(self.allowed_models)} (its parameter AllowedModels)."
            )
        return model

    @property
    def patience_s(self) -> float:
        """How long the platform should wait for first content before it posts the turn again.

        The time until the deployment has surely spoken (buffer words; without them the answer or
        the sentence that ends the budget), plus the platform's own default, which covers a cold
        start and the network. At 5.5 s a lost turn is still posted twice again before the platform
        gives up at 17 s; the default itself, 4 s, leaves a cold start 2.5 s, after which the same
        turn is made, and paid for, twice.
        """
        spoken_ms = [ms for ms in (self.buffer_words_after_ms, self.turn_budget_ms) if ms > 0]
        first_words_s = min(spoken_ms) / 1000 if spoken_ms else math.inf
        return max(SHORTEST_S, min(LONGEST_S, first_words_s + USUAL_S))


def url_deployment(url: str, key: str) -> Deployment:
    """Return the deployment at `url`, with or without its path.

    Raises:
        Problem: It is not a URL, or not one that the platform can call.
    """
    try:
        address = Address.parse(url)
    except ValueError as error:
        raise usage(f"URL: {error}.") from error
    if not address.tls:
        raise usage(
            f"The platform cannot call URL={url}: it needs https and a public name. "
            "For `make run`, open a tunnel to its port and give the tunnel's URL."
        )
    return Deployment(address.base_url, key)


def stack_deployment(stack: str, region: str) -> Deployment:
    """Return the deployment of a CloudFormation stack, with its caller key.

    Raises:
        Problem: The stack cannot be read, or is not one of this repository.
    """
    described = _read(region, "cloudformation", "describe-stacks", "--stack-name", stack)
    try:
        facts = json.loads(described)["Stacks"][0]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in facts.get("Outputs", [])}
        parameters = {
            one["ParameterKey"]: one.get("ParameterValue", "")
            for one in facts.get("Parameters", [])
        }
        url, secret = outputs["ServerUrl"], outputs["CallerKeySecretArn"]
        listed = parameters.get("AllowedModels", "")
        models = json.loads(listed) if listed.startswith("[") else listed.split(",")
    except (ValueError, LookupError, TypeError) as error:
        raise Problem(
            f"The stack {stack} has no output ServerUrl or CallerKeySecretArn: it is not one of "
            "this repository, or its deployment did not finish. STACK=... names another."
        ) from error
    held = _read(region, "secretsmanager", "get-secret-value", "--secret-id", secret)
    return Deployment(
        url,
        _caller_key(held, secret),
        parameters.get("UpstreamModel", ""),
        int(parameters.get("BufferWordsAfterMs") or 0),
        int(parameters.get("TurnBudgetMs") or 0),
        tuple(model.strip() for model in models if model.strip()),
    )


def _caller_key(answer: str, secret: str) -> str:
    """Return the caller key from Secrets Manager's answer; a Problem does not quote it."""
    try:
        value: Any = json.loads(json.loads(answer)["SecretString"])
        key = value["key"]
    except (ValueError, LookupError, TypeError):
        key = None
    if not isinstance(key, str) or not key:
        # `from None`: a trace would show the secret.
        raise Problem(f'The secret {secret} does not hold {{"key": "..."}}.') from None
    return key


def _read(region: str, *arguments: str) -> str:
    """Return what the AWS CLI says about the stack; a Problem says how to name another server."""
    try:
        return aws(region, *arguments)
    except Problem as problem:
        raise Problem(
            f"{problem}\n"
            "This looked for the deployed stack. STACK=... and REGION=... name another one; "
            "URL=https://.../v1 names a server without AWS."
        ) from problem
