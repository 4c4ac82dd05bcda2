import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from completions.settings import ON_FAILURE, PREFIX, Settings
from completions.speech.phrases import PHRASES
from completions.turn.plan import DEADLINE_MARGIN_S
from local.intrinsics import Resolver

SHAPES_THE_DEPLOYMENT_ONLY = {
    "InvokeMode",
    "Architecture",
    "MemorySize",
    "TimeoutS",
    "SnapStart",
    "KeepSnapshot",
    "BedrockModelArns",
    "ReservedConcurrency",
    "AlarmTopicArn",
    "FirstTokenAlarmMs",
    "FailedTurnsAlarmPercent",
    "AuthFailuresAlarmCount",
    "LogLevel",
    "LogRetentionDays",
}
SET_BY_RESOURCES = {
    "caller_key_secret": {"Ref": "CallerKeySecret"},
    "upstream_key_secret": {"Ref": "UpstreamKeySecret"},
}
# Settings that a deployment seldom changes; an owner who does adds the variable to the template.
WITHOUT_PARAMETER = {"timeout_s"}  # Lambda sets it.
INTRINSICS = {"Ref", "Condition"} | {
    f"Fn::{name}" for name in ("Sub", "If", "Equals", "Not", "And", "Or", "Join", "GetAtt")
}


def camel(setting: str) -> str:
    return "".join(word.capitalize() for word in setting.split("_"))


def function(template: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = template["Resources"]["CompletionsFunction"]["Properties"]
    return properties


def variables(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = function(template)["Environment"]["Variables"]
    return found


def test_every_parameter_is_described_and_has_a_default(template: dict[str, Any]) -> None:
    """Each parameter has a description and a default, so `sam deploy` asks nothing."""
    for name, parameter in template["Parameters"].items():
        assert re.fullmatch(r"[A-Z].*[^ ]\.", parameter["Description"]), name
        assert "Default" in parameter, name


def test_every_parameter_is_constrained(template: dict[str, Any]) -> None:
    """Each parameter refuses values that cannot work before anything is deployed."""
    for name, parameter in template["Parameters"].items():
        assert parameter.keys() & {"AllowedValues", "AllowedPattern", "MinValue"}, name
        if "AllowedPattern" in parameter:
            assert re.search(parameter["AllowedPattern"], parameter["Default"]), name
            assert "ConstraintDescription" in parameter, name


def test_every_parameter_stands_in_one_group(template: dict[str, Any]) -> None:
    """The console shows each parameter once, under a heading."""
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    assert all(group["Label"]["default"] for group in groups)


def test_every_parameter_is_used(template: dict[str, Any]) -> None:
    """Every parameter has an effect."""
    used = str({key: template[key] for key in ("Conditions", "Resources")})
    for name in template["Parameters"]:
        assert f"{{'Ref': '{name}'}}" in used or f"${{{name}}}" in used, name


@pytest.mark.parametrize(
    "setting", sorted({field.name for field in dataclasses.fields(Settings)} - WITHOUT_PARAMETER)
)
def test_a_setting_comes_from_the_parameter_of_its_name(
    setting: str, template: dict[str, Any]
) -> None:
    """`a_setting` is the variable COMPLETIONS_A_SETTING, fed by the parameter ASetting."""
    fed_by = variables(template)[PREFIX + setting.upper()]
    assert fed_by == SET_BY_RESOURCES.get(setting, {"Ref": camel(setting)})


def test_no_parameter_lacks_its_setting(template: dict[str, Any]) -> None:
    """A parameter is either a setting or listed as one of the deployment."""
    settings = {camel(field.name) for field in dataclasses.fields(Settings)}
    settings -= {camel(setting) for setting in {*SET_BY_RESOURCES, *WITHOUT_PARAMETER}}
    assert set(template["Parameters"]) == settings | SHAPES_THE_DEPLOYMENT_ONLY


def test_no_variable_lacks_its_setting(template: dict[str, Any]) -> None:
    """The function reads every COMPLETIONS_ variable that the template sets."""
    known = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    assert {name for name in variables(template) if name.startswith(PREFIX)} <= known


def test_the_template_and_the_function_agree_on_defaults(template: dict[str, Any]) -> None:
    """Template and function have the same defaults."""
    resolver = Resolver(template, "template.yaml", {})
    resolved = resolver.resolve(variables(template), "variables")
    defaults = Settings.from_environment({name: str(value) for name, value in resolved.items()})
    assert dataclasses.replace(defaults, caller_key_secret="", upstream_key_secret="") == Settings()


def test_a_choice_offers_what_the_function_knows(template: dict[str, Any]) -> None:
    """The template allows exactly the languages and failure modes that the function knows."""
    parameters = template["Parameters"]
    assert sorted(parameters["Language"]["AllowedValues"]) == sorted(PHRASES)
    assert parameters["OnFailure"]["AllowedValues"] == list(ON_FAILURE)


def test_no_timer_outlives_the_function(template: dict[str, Any]) -> None:
    """No timer may be longer than the function's usual timeout, since it would never fire."""
    parameters = template["Parameters"]
    timers = [camel(f.name) for f in dataclasses.fields(Settings) if f.name.endswith("_ms")]
    timers.remove("TurnLimitMs")  # It is for servers without a deadline of their own.
    for name in timers:
        assert parameters[name]["MinValue"] == 0, name
        assert parameters[name]["MaxValue"] == parameters["TimeoutS"]["Default"] * 1000, name


def test_a_turn_can_end_itself_before_lambda_does(template: dict[str, Any]) -> None:
    """The shortest timeout leaves room for the whole turn budget and the last words."""
    shortest_s = template["Parameters"]["TimeoutS"]["MinValue"]
    budget_s = template["Parameters"]["TurnBudgetMs"]["Default"] / 1000
    assert budget_s + DEADLINE_MARGIN_S < shortest_s
    assert function(template)["Timeout"] == {"Ref": "TimeoutS"}


def test_the_invoke_mode_attaches_the_layer(template: dict[str, Any]) -> None:
    """The URL streams exactly if the layer's wrapper is attached."""
    for mode, wrapper in (("RESPONSE_STREAM", "/opt/bootstrap"), ("BUFFERED", None)):
        resolver = Resolver(template, "template.yaml", {"InvokeMode": mode})
        resolved = resolver.resolve(variables(template), "variables")
        url = resolver.resolve(function(template)["FunctionUrlConfig"], "url")
        assert resolved.get("AWS_LAMBDA_EXEC_WRAPPER") == wrapper
        assert resolved["LAMBDA_STREAMING_INVOKE_MODE"] == url["InvokeMode"] == mode


def test_the_upstream_key_is_in_no_template(template: dict[str, Any]) -> None:
    """The upstream secret is created without a value, so no stack can show the key."""
    properties = template["Resources"]["UpstreamKeySecret"]["Properties"]
    assert properties.keys() == {"Description"}


def test_only_the_resolvable_intrinsics_are_used(template: dict[str, Any]) -> None:
    """The template uses only intrinsic functions that `local/` resolves."""
    used = set(re.findall(r"'(Fn::\w+|Ref|Condition)':", str(template)))
    assert used <= INTRINSICS


def test_logical_ids_end_in_their_kind(template: dict[str, Any]) -> None:
    """A logical id is `<Thing><Kind>`."""
    for logical_id, resource in template["Resources"].items():
        kind = resource["Type"].rpartition("::")[2].removesuffix("Version")
        assert logical_id.endswith(kind), logical_id


def test_every_output_has_a_description(template: dict[str, Any]) -> None:
    """Every output has a description."""
    assert all(output["Description"] for output in template["Outputs"].values())
    assert "Server URL" in template["Outputs"]["ServerUrl"]["Description"]


def test_each_architecture_has_wheels(template: dict[str, Any], root: Path) -> None:
    """Every allowed architecture, and no other, has its makefile for SAM."""
    folders = {path.parent.name for path in root.glob("functions/completions/wheels/*/Makefile")}
    assert folders == set(template["Parameters"]["Architecture"]["AllowedValues"])
    for folder in folders:
        makefile = root / "functions/completions/wheels" / folder / "Makefile"
        assert f"\nARCHITECTURE := {folder}\n" in makefile.read_text()


@pytest.mark.parametrize("stage", ["default", "prod"])
def test_build_and_deploy_are_given_the_same_parameters(
    stage: str, template: dict[str, Any], root: Path
) -> None:
    """samconfig.toml gives `sam build` and `sam deploy` the same parameters."""
    config = tomllib.loads((root / "samconfig.toml").read_text())[stage]
    overrides = dict(
        item.split("=", 1) for item in config["global"]["parameters"]["parameter_overrides"]
    )
    assert overrides["Architecture"] == template["Parameters"]["Architecture"]["Default"]
    assert overrides.keys() <= template["Parameters"].keys()
    others = [section["parameters"] for name, section in config.items() if name != "global"]
    assert not any("parameter_overrides" in section for section in others)


def test_the_stages_are_separate(root: Path) -> None:
    """Each stage has its own stack and tags, and only prod asks before it deploys."""
    config = tomllib.loads((root / "samconfig.toml").read_text())
    stages = {name: table for name, table in config.items() if name != "version"}
    assert stages.keys() == {"default", "prod"}
    stacks = {table["global"]["parameters"]["stack_name"] for table in stages.values()}
    assert len(stacks) == len(stages)
    for name, table in stages.items():
        deploy = table["deploy"]["parameters"]
        assert deploy["tags"] == ["application=voice-completions", f"stage={name}"]
        assert deploy["confirm_changeset"] is (name == "prod")
