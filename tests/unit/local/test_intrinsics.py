"""The intrinsic functions that `template.yaml` may use, and the refusal of all others."""

from pathlib import Path
from typing import Any

import pytest

from local.intrinsics import NO_VALUE, Resolver, TemplateError, read

TEMPLATE = """
Parameters:
  Stage: {Type: String, Default: dev, AllowedValues: [dev, prod]}
  Needed: {Type: String}
  Count: {Type: Number, Default: 3}
Conditions:
  IsDev: !Equals [!Ref Stage, dev]
  IsProd: !Equals [!Ref Stage, prod]
  NotDev: !Not [!Condition IsDev]
  Both: !And [!Condition IsDev, !Equals [!Ref Count, "3"]]
  Either: !Or [!Condition IsProd, !Condition IsDev]
Resources:
  KeySecret: {Type: AWS::SecretsManager::Secret, Properties: {Name: !Sub "${Stage}/key"}}
  PlainSecret: {Type: AWS::SecretsManager::Secret}
  TurnFunction: {Type: AWS::Serverless::Function}
  TurnLogGroup: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Sub "/turn/${Stage}"}}
  SomeLayer: {Type: AWS::Serverless::LayerVersion}
  SomeTable: {Type: AWS::DynamoDB::Table}
"""


def resolver(tmp_path: Path, **given: str) -> Resolver:
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    return Resolver(read(path), path.name, given)


def node_of(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "node.yaml"
    path.write_text(f"Value: {text}")
    return read(path)["Value"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!Ref Stage", "dev"),
        ("{Ref: Stage}", "dev"),
        ("!Ref Count", 3),
        ("!Ref AWS::Region", "us-east-1"),
        ("!Ref TurnFunction", "TurnFunction"),
        ("!Ref SomeLayer", "SomeLayer"),
        ("!Ref TurnLogGroup", "/turn/dev"),
        ("!Ref PlainSecret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:PlainSecret"),
        ("!Ref KeySecret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:dev/key"),
        ("!GetAtt TurnFunction.Arn", "arn:aws:lambda:us-east-1:123456789012:function:TurnFunction"),
        (
            "{Fn::GetAtt: [TurnLogGroup, Arn]}",
            "arn:aws:logs:us-east-1:123456789012:log-group:/turn/dev:*",
        ),
        (
            "!GetAtt PlainSecret.Id",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:PlainSecret",
        ),
        ("!Sub 'x-${Stage}-${Count}'", "x-dev-3"),
        (
            "!Sub '${TurnFunction.Arn}!'",
            "arn:aws:lambda:us-east-1:123456789012:function:TurnFunction!",
        ),
        ("!Sub '${!Literal}'", "${Literal}"),
        ("!Sub ['${Stage}${mine}', {mine: !Ref Count}]", "dev3"),
        ("!Join ['-', [a, !Ref Count, !Ref Stage]]", "a-3-dev"),
        ("!If [IsDev, yes-it-is, no]", "yes-it-is"),
        ("!If [NotDev, 1, !Ref Count]", 3),
        ("!If [Both, 1, 2]", 1),
        ("!If [Either, 1, 2]", 1),
        ("!Equals [true, 'true']", True),
        ("{A: {B: [!Ref Stage, !Ref AWS::NoValue]}}", {"A": {"B": ["dev"]}}),
        ("{A: 1, B: !If [IsProd, 1, !Ref AWS::NoValue]}", {"A": 1}),
        ("2010-09-09", "2010-09-09"),
    ],
)
def test_each_supported_form_resolves(tmp_path: Path, text: str, expected: object) -> None:
    """Each supported function gives the value that CloudFormation gives, in both spellings."""
    assert resolver(tmp_path).resolve(node_of(tmp_path, text), "here") == expected


def test_no_value_resolves_to_absent(tmp_path: Path) -> None:
    """AWS::NoValue resolves to the mark for an absent property."""
    assert resolver(tmp_path).resolve({"Ref": "AWS::NoValue"}, "here") is NO_VALUE


def test_a_given_parameter_replaces_the_default(tmp_path: Path) -> None:
    """Given parameters win over defaults, in conditions too."""
    given = resolver(tmp_path, Stage="prod")
    assert given.resolve(node_of(tmp_path, "!If [IsProd, !Ref Stage, other]"), "here") == "prod"


def test_a_list_with_commas_is_a_list(tmp_path: Path) -> None:
    """A parameter of a list type is split at commas, as by CloudFormation."""
    document = {"Parameters": {"Arns": {"Type": "CommaDelimitedList", "Default": "a, b"}}}
    assert Resolver(document, "t", {}).resolve({"Ref": "Arns"}, "here") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("!Select [0, [a]]", "Fn::Select"),
        ("!ImportValue x", "Fn::ImportValue"),
        ("!Ref SomeTable", "SomeTable (AWS::DynamoDB::Table)"),
        ("!Ref Nothing", "Nothing (not in the template)"),
        ("!GetAtt TurnFunction.Version", "TurnFunction.Version"),
        ("!GetAtt Nothing.Arn", "Nothing.Arn (not in the template)"),
        ("!Sub '${Nothing}'", "Nothing"),
        ("!If [Unknown, 1, 2]", "no condition Unknown"),
        ("!Ref Needed", "Parameters.Needed has no default"),
    ],
)
def test_everything_else_is_refused_by_name_and_place(
    tmp_path: Path, text: str, named: str
) -> None:
    """Anything unsupported fails with the file, its name and, if known, its place."""
    node = {"Deep": [node_of(tmp_path, text)]}
    with pytest.raises(TemplateError) as refusal:
        resolver(tmp_path).resolve(node, "Resources.X")
    message = str(refusal.value)
    assert message.startswith("template.yaml: ")
    assert named in message
    assert "Parameters" in message or "Resources.X.Deep[0]" in message


def test_a_value_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    """A parameter outside its AllowedValues fails, as it would at deployment."""
    with pytest.raises(TemplateError, match=r"Parameters\.Stage is test, not one of dev, prod"):
        resolver(tmp_path, Stage="test").resolve({"Ref": "Stage"}, "here")


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    """An unknown parameter is refused with a list of the known ones."""
    with pytest.raises(TemplateError, match="no parameter Stag; it has Count, Needed, Stage"):
        resolver(tmp_path, Stag="dev")


@pytest.mark.parametrize("text", ["", "a: [", "- a\n- b"])
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, text: str) -> None:
    """An empty, broken or listed file is refused with its path."""
    path = tmp_path / "template.yaml"
    path.write_text(text)
    with pytest.raises(TemplateError, match=r"template\.yaml"):
        read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing file is a TemplateError, not an OSError."""
    with pytest.raises(TemplateError, match="cannot be read"):
        read(tmp_path / "absent.yaml")
