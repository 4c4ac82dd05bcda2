"""What is read from a template: the function, its layers and the secrets."""

from pathlib import Path

import pytest

from local.intrinsics import TemplateError
from local.template import Template

TEMPLATE = """
Globals:
  Function:
    Runtime: python3.13
    Timeout: 7
    Environment: {Variables: {SHARED: global, OVER: global}}
Parameters:
  Streams: {Type: String, Default: "yes"}
Conditions:
  DoesStream: !Equals [!Ref Streams, "yes"]
  Never: !Equals [a, b]
Resources:
  TurnFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: turn.app.handler
      CodeUri: code/turn
      MemorySize: 512
      Timeout: 9
      LoggingConfig: {LogFormat: JSON}
      Layers: [!If [DoesStream, !Ref StreamingLayer, !Ref AWS::NoValue]]
      FunctionUrlConfig: {AuthType: NONE, InvokeMode: !If [DoesStream, RESPONSE_STREAM, BUFFERED]}
      Environment:
        Variables:
          OVER: own
          FLAG: true
          COUNT: 5
          WRAPPER: !If [DoesStream, /opt/bootstrap, !Ref AWS::NoValue]
  StreamingLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/streaming}
  MadeSecret:
    Type: AWS::SecretsManager::Secret
    Properties: {GenerateSecretString: {SecretStringTemplate: "{}", GenerateStringKey: key}}
  FixedSecret:
    Type: AWS::SecretsManager::Secret
    Properties: {Name: fixed, SecretString: !Sub "it is ${Streams}"}
  EmptySecret:
    Type: AWS::SecretsManager::Secret
  AbsentSecret:
    Type: AWS::SecretsManager::Secret
    Condition: Never
"""


def template(tmp_path: Path, text: str = TEMPLATE, **parameters: str) -> Template:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    return Template(path, parameters)


def test_the_function_is_read_whole(tmp_path: Path) -> None:
    """The function's own properties win over those of Globals."""
    function = template(tmp_path).function
    assert function.logical_id == function.name == "TurnFunction"
    assert (function.handler, function.runtime) == ("turn.app.handler", "python3.13")
    assert (function.timeout_s, function.memory_mb) == (9.0, 512)
    assert (function.invoke_mode, function.log_format) == ("RESPONSE_STREAM", "JSON")
    assert function.folder == tmp_path / "code/turn"
    assert [layer.folder for layer in function.layers] == [tmp_path / "layers/streaming"]


def test_variables_are_strings_and_merged(tmp_path: Path) -> None:
    """Variables of Globals and of the function are merged, and all of them are strings."""
    assert template(tmp_path).function.environment == {
        "SHARED": "global",
        "OVER": "own",
        "FLAG": "true",
        "COUNT": "5",
        "WRAPPER": "/opt/bootstrap",
    }


def test_a_parameter_detaches_the_layer(tmp_path: Path) -> None:
    """With the condition off, layer, wrapper and streaming are off together."""
    function = template(tmp_path, Streams="no").function
    assert function.layers == ()
    assert function.invoke_mode == "BUFFERED"
    assert "WRAPPER" not in function.environment


def test_secrets_are_read_as_declared(tmp_path: Path) -> None:
    """Each secret has its name and its source; one whose condition is off is left out."""
    made, fixed, empty = template(tmp_path).secrets
    assert (made.logical_id, made.name, made.value) == ("MadeSecret", "MadeSecret", None)
    assert made.generate == {"SecretStringTemplate": "{}", "GenerateStringKey": "key"}
    assert (fixed.name, fixed.value, fixed.generate) == ("fixed", "it is yes", None)
    assert (empty.value, empty.generate) == (None, None)


def test_lambda_defaults_hold(tmp_path: Path) -> None:
    """What the template leaves out has Lambda's default."""
    function = template(
        tmp_path,
        "Resources: {F: {Type: AWS::Serverless::Function,"
        " Properties: {Handler: a.b, Runtime: python3.13, CodeUri: code}}}",
    ).function
    assert (function.timeout_s, function.memory_mb, function.invoke_mode) == (3.0, 128, "BUFFERED")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Resources: {}", "one AWS::Serverless::Function was expected, not 0"),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Runtime: p}}}",
            r"Resources\.F\.Properties\.Handler is missing",
        ),
        (TEMPLATE.replace("!Ref StreamingLayer", "arn:aws:lambda:x"), "arn:aws:lambda:x is no"),
    ],
)
def test_an_unusable_function_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A missing function, one without a handler, or a foreign layer is refused with its place."""
    with pytest.raises(TemplateError, match=message):
        _ = template(tmp_path, text).function
