"""AWS on this machine for `sam deploy` and the function: moto, behind SAM's transform.

CloudFormation applies the transform to a template, then creates its resources. moto's
CloudFormation has no transform, and lacks some of our resources. So SAM's own translator translates
each new change set first, and what moto's CloudFormation does not know is removed. The secrets
among that are created here by the API; `Account.complete` creates the rest in the same way.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from local.intrinsics import ACCOUNT, REGION, Resolver
from tests.support import sam

BUCKET = "packages"
ADDRESS = f"https://moto.lambda-url.{REGION}.on.aws/"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}
FUNCTION = "CompletionsFunction"
SECRET, ALIAS, URL = "AWS::SecretsManager::Secret", "AWS::Lambda::Alias", "AWS::Lambda::Url"
MADE_ELSEWHERE = {SECRET, ALIAS, URL, "AWS::CloudWatch::Alarm", "AWS::Lambda::Permission"}
"""The kinds that moto's CloudFormation does not know or creates wrongly."""


class _Silent(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Log no requests."""


class Account:
    """An empty account while the context is open; `endpoint` serves all of AWS."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.translated: dict[str, Any] = {}
        """The template of the last change set, as SAM's transform left it."""
        self._of_stack: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=_Silent
        )
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self._reset()
        self.client("s3").create_bucket(Bucket=BUCKET)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._reset()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _reset(self) -> None:
        # moto's state belongs to the process.
        order = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(order).close()

    def client(self, service: str) -> Any:
        """Return a boto3 client for this account."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that point AWS's command line tools here."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def complete(self, stack: str) -> dict[str, str]:
        """Create by the API what moto's CloudFormation left out; return physical ids by logical id.

        moto attaches no layers to the function and knows neither alias nor URL.
        """
        functions = self.client("lambda")
        found = self.client("cloudformation").describe_stack_resources(StackName=stack)
        ids: dict[str, str] = {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for each in found["StackResources"]
        }
        # A layer has no id there, so it is found by its name.
        for layer in functions.list_layers()["Layers"]:
            for logical_id in ids:
                if layer["LayerName"].startswith(f"{stack}-{logical_id}-"):
                    ids[logical_id] = layer["LatestMatchingVersion"]["LayerVersionArn"]
        function = ids[FUNCTION]
        declared = self.translated["Resources"]
        functions.update_function_configuration(
            FunctionName=function,
            Layers=[ids[each["Ref"]] for each in declared[FUNCTION]["Properties"]["Layers"]],
        )
        for kind, make in ((ALIAS, self._alias), (URL, self._url)):
            (resource,) = (each for each in declared.values() if each["Type"] == kind)
            make(function, resource["Properties"])
        return ids

    def _alias(self, function: str, properties: Mapping[str, Any]) -> None:
        published = self.client("lambda").publish_version(FunctionName=function)
        self.client("lambda").create_alias(
            FunctionName=function, Name=properties["Name"], FunctionVersion=published["Version"]
        )

    def _url(self, function: str, properties: Mapping[str, Any]) -> None:
        resolver = Resolver(self.translated, "translated", self._parameters)
        self.client("lambda").create_function_url_config(
            FunctionName=function,
            AuthType=properties["AuthType"],
            InvokeMode=resolver.resolve(properties["InvokeMode"], "InvokeMode"),
        )

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            form = dict(urllib.parse.parse_qsl(body.decode("latin-1")))
            if form.get("Action") == "CreateChangeSet":
                body = urllib.parse.urlencode(self._transform(form)).encode()
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _transform(self, form: dict[str, str]) -> dict[str, str]:
        """Return the request with a template that moto can create."""
        template = form.pop("TemplateBody", "")
        if url := form.pop("TemplateURL", ""):
            _, bucket, key = urllib.parse.urlsplit(url).path.split("/", 2)
            template = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        before, parameters = self._of_stack.get(form["StackName"], {}), {}
        for name, value in form.items():
            if re.fullmatch(r"Parameters\.member\.\d+\.ParameterKey", name):
                # Without a value (`UsePreviousValue`) it keeps its last one.
                given = form.get(name.replace("Key", "Value"), before.get(value))
                parameters.update({} if given is None else {value: given})
        self._of_stack[form["StackName"]] = self._parameters = parameters
        self.translated = sam.translated(template, parameters)
        return {**form, "TemplateBody": json.dumps(self._reduced(self.translated))}

    def _reduced(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the template without what is created elsewhere, and with its names for references.

        What a condition leaves out is removed too, since moto would create resources without an id.
        """
        resolver = Resolver(document, "translated", self._parameters)
        elsewhere: dict[str, str] = {}
        for logical_id, resource in document["Resources"].items():
            if resource["Type"] == SECRET:
                elsewhere[logical_id] = self._secret(logical_id, resource["Properties"])
            elif resource["Type"] in MADE_ELSEWHERE:
                elsewhere[logical_id] = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{logical_id}"
                elsewhere[f"{logical_id}.Arn"] = elsewhere[logical_id]
            if resource["Type"] == URL:
                elsewhere[f"{logical_id}.FunctionUrl"] = self.address(logical_id)
        kept = {
            logical_id: resource
            for logical_id, resource in document["Resources"].items()
            if resource["Type"] not in MADE_ELSEWHERE
            and (
                "Condition" not in resource or resolver.condition(resource["Condition"], logical_id)
            )
        }
        reduced: dict[str, Any] = _replaced({**document, "Resources": kept}, elsewhere)
        return reduced

    def address(self, logical_id: str) -> str:
        """Return the address that a Function URL claims."""
        return ADDRESS

    def _secret(self, name: str, properties: Mapping[str, Any]) -> str:
        """Create a secret as CloudFormation would; return its ARN."""
        value = {}
        if generated := properties.get("GenerateSecretString"):
            text = {generated["GenerateStringKey"]: secrets.token_hex(24)}
            value["SecretString"] = json.dumps(text)
        made = self.client("secretsmanager").create_secret(
            Name=f"{name}-{secrets.token_hex(6)}", **value
        )
        arn: str = made["ARN"]
        return arn


def _replaced(node: Any, names: Mapping[str, str]) -> Any:
    """Return the node with each reference to one of `names` replaced by its value."""
    if isinstance(node, list):
        return [_replaced(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"Ref": name} if name in names:
            return names[name]
        case {"Fn::GetAtt": [name, attribute]} if f"{name}.{attribute}" in names:
            return names[f"{name}.{attribute}"]
        case {"Fn::Sub": str(text)}:
            return {"Fn::Sub": re.sub(r"\$\{([^}]+)\}", lambda it: names.get(it[1], it[0]), text)}
    return {key: _replaced(item, names) for key, item in node.items()}
