"""The dashboard and the alarms use metrics that the function and Lambda really write."""

import json
import re
from typing import Any

import boto3
import pytest
from moto import mock_aws

from completions.observability import BY_OUTCOME, METRICS
from completions.turn.record import Outcome
from local.intrinsics import Resolver

LAMBDA = {
    # Developer Guide, "Types of metrics for Lambda functions", "Monitoring Lambda function URLs".
    "ConcurrentExecutions", "Errors", "Throttles", "Url4xxCount", "Url5xxCount", "UrlRequestCount",
}  # fmt: skip
NAMESPACE, SERVICE = "VoiceCompletions", "${AWS::StackName}"
ASKED_FOR = {
    # Metrics that show whether callers wait, and why.
    "FirstTokenMs", "FirstSpokenMs", "OverheadMs", "UpstreamHeadersMs", "BufferWords", "Fallbacks",
    "ConcurrentExecutions", "Throttles", "ColdStarts", BY_OUTCOME,
}  # fmt: skip


@pytest.fixture
def dashboard(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the widgets, with `${name}` replaced only where a number must be."""
    body: str = template["Resources"]["CompletionsDashboard"]["Properties"]["DashboardBody"][
        "Fn::Sub"
    ]
    widgets: list[dict[str, Any]] = json.loads(re.sub(r": \$\{(\w+)\}", r': "\1"', body))["widgets"]
    return widgets


@pytest.fixture
def alarms(template: dict[str, Any]) -> dict[str, Any]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def description(alarm: dict[str, Any]) -> str:
    words = alarm["AlarmDescription"]
    text: str = words if isinstance(words, str) else words["Fn::Sub"]
    return text


def watched(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of an alarm, however it names them."""
    if "Metrics" not in alarm:
        return [alarm]
    return [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]


def plotted(dashboard: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the rows of all metric widgets: namespace, name, dimension, its value, the rest."""
    rows = [row for widget in dashboard for row in widget["properties"].get("metrics", ())]
    return [row for row in rows if isinstance(row[0], str)]


def searched(dashboard: list[dict[str, Any]]) -> list[str]:
    rows = [row for widget in dashboard for row in widget["properties"].get("metrics", ())]
    return [row[0]["expression"] for row in rows if isinstance(row[0], dict)]


def test_every_metric_on_the_dashboard_is_measured(dashboard: list[dict[str, Any]]) -> None:
    """Each line of a graph is a metric of the function or of Lambda, in its one dimension."""
    assert plotted(dashboard)
    for namespace, name, *dimension in (row[:4] for row in plotted(dashboard)):
        if namespace == NAMESPACE:
            assert name in METRICS
            assert dimension == ["service", SERVICE]
        else:
            assert namespace == "AWS/Lambda"
            assert name in LAMBDA
            assert dimension == ["FunctionName", "${CompletionsFunction}"]


def test_the_dashboard_answers_its_question(dashboard: list[dict[str, Any]]) -> None:
    """The dashboard shows how long callers wait, for which model, and what they hear meanwhile."""
    assert {row[1] for row in plotted(dashboard)} >= ASKED_FOR
    for name in ("FirstTokenMs", "FirstSpokenMs"):
        told = [row[4].get("stat") for row in plotted(dashboard) if row[1] == name]
        assert {"p50", "p95", "p99"} <= set(told)


def test_outcomes_are_found_by_their_dimensions(dashboard: list[dict[str, Any]]) -> None:
    """The graph of outcomes searches the metric and the two dimensions that count them."""
    (expression,) = searched(dashboard)
    assert expression == (
        f'SEARCH(\'{{{NAMESPACE},service,outcome}} MetricName="{BY_OUTCOME}"'
        f" service=\"{SERVICE}\"', 'Sum', 60)"
    )


def test_the_last_failures_are_those_that_count(dashboard: list[dict[str, Any]]) -> None:
    """The list of failures queries our log for exactly the outcomes that count as failed."""
    (log,) = (widget["properties"] for widget in dashboard if widget["type"] == "log")
    assert log["query"].startswith("SOURCE '${CompletionsLogGroup}' | fields @timestamp, ")
    (outcomes,) = re.findall(r"outcome in \[(.*?)\]", log["query"])
    assert set(re.findall(r"'(\w+)'", outcomes)) == {each for each in Outcome if each.failed}


def test_widgets_have_room(dashboard: list[dict[str, Any]]) -> None:
    """No two widgets overlap, and none leaves the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for widget in dashboard:
        x, y, width, height = (widget[name] for name in ("x", "y", "width", "height"))
        assert x + width <= 24
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
        assert not cells & taken
        taken |= cells


def test_the_dashboard_names_what_exists(template: dict[str, Any]) -> None:
    """Every `${name}` of the dashboard exists, and the dashboard shows all alarms."""
    body = template["Resources"]["CompletionsDashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    named = set(re.findall(r"\$\{([^}]+)\}", body))
    arns = {name.removesuffix(".Arn") for name in named if name.endswith(".Arn")}
    kinds = {name: resource["Type"] for name, resource in template["Resources"].items()}
    assert arns == {name for name, kind in kinds.items() if kind == "AWS::CloudWatch::Alarm"}
    others = named - {f"{name}.Arn" for name in arns}
    assert others <= {*kinds, *template["Parameters"], "AWS::StackName", "AWS::Region"}


def test_every_alarm_watches_what_is_measured(alarms: dict[str, Any]) -> None:
    """Every alarm's metric is written by the function or by Lambda."""
    for name, alarm in alarms.items():
        assert watched(alarm), name
        for metric in watched(alarm):
            (dimension,) = metric["Dimensions"]
            if metric["Namespace"] == NAMESPACE:
                assert metric["MetricName"] in METRICS
                assert dimension == {"Name": "service", "Value": {"Ref": "AWS::StackName"}}
            else:
                assert (metric["Namespace"], metric["MetricName"] in LAMBDA) == ("AWS/Lambda", True)
                assert dimension == {
                    "Name": "FunctionName", "Value": {"Ref": "CompletionsFunction"}
                }  # fmt: skip


def test_cloudwatch_takes_every_alarm(alarms: dict[str, Any], template: dict[str, Any]) -> None:
    """The CloudWatch API accepts each alarm, with the parameters' thresholds."""
    resolver = Resolver(template, "template.yaml", {"FirstTokenAlarmMs": "2500"})
    with mock_aws():
        cloudwatch = boto3.client("cloudwatch")
        for name, alarm in alarms.items():
            resolved = resolver.resolve(alarm, name)
            threshold = float(resolved.pop("Threshold"))
            cloudwatch.put_metric_alarm(AlarmName=name, Threshold=threshold, **resolved)
        made = {each["AlarmName"]: each for each in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert made.keys() == alarms.keys()
    assert made["FirstTokenAlarm"]["Threshold"] == 2500
    assert "more than 2500 ms" in made["FirstTokenAlarm"]["AlarmDescription"]
    for each in made.values():
        assert each["TreatMissingData"] == "notBreaching"


def test_the_important_metrics_have_alarms(alarms: dict[str, Any]) -> None:
    """There is an alarm for waiting, failing, refused and throttled callers, and for our keys."""
    assert {metric["MetricName"] for alarm in alarms.values() for metric in watched(alarm)} >= {
        "FirstTokenMs", "FailedTurns", "Throttles", "AuthFailures", "KeyFailures",
        "SetupFailures", "Errors"
    }  # fmt: skip
    first = alarms["FirstTokenAlarm"]
    assert (first["ExtendedStatistic"], first["EvaluateLowSampleCountPercentile"]) == (
        "p95",
        "evaluate",
    )


def test_failed_turns_are_a_percentage(alarms: dict[str, Any]) -> None:
    """Failed turns are compared in percent: three of sixty are 5, above a threshold of 2."""
    percent, *counts = alarms["FailedTurnsAlarm"]["Metrics"]
    assert "ReturnData" not in percent  # the value that the alarm compares
    assert all(each["ReturnData"] is False for each in counts)
    measured = {"FailedTurns": 3, "Turns": 60}
    values = {each["Id"]: measured[each["MetricStat"]["Metric"]["MetricName"]] for each in counts}
    assert eval(percent["Expression"], {}, values) == 5
    assert {(each["MetricStat"]["Period"], each["MetricStat"]["Stat"]) for each in counts} == {
        (300, "Sum")
    }


def test_counts_are_summed(alarms: dict[str, Any]) -> None:
    """Counts are summed, since each line counts 1 and no other statistic would exceed that."""
    for name, alarm in alarms.items():
        if "Metrics" not in alarm and "ExtendedStatistic" not in alarm:
            assert alarm["Statistic"] == "Sum", name


def test_every_alarm_says_in_words_when_it_rings(alarms: dict[str, Any]) -> None:
    """Each alarm's description has metric, threshold, period, remedy, and missing data."""
    for name, alarm in alarms.items():
        text = description(alarm)
        assert len(text) <= 1024, name  # CloudWatch's limit
        assert watched(alarm)[0]["MetricName"] in text, name
        threshold = alarm["Threshold"]
        said = f"above {threshold}" if threshold == 0 else f"${{{threshold['Ref']}}}"
        assert said in text, name
        seconds = alarm.get("Period", 300)
        minutes = f"{seconds // 60} minute" + ("s" if seconds > 60 else "")
        assert minutes in text, name
        needed, looked_at = alarm.get("DatapointsToAlarm", 1), alarm["EvaluationPeriods"]
        assert looked_at == 1 or f"in {needed} of {looked_at} periods" in text, name
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold", name
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert "Missing data counts as good: " in text, name


def test_alarms_notify_the_topic_if_there_is_one(alarms: dict[str, Any]) -> None:
    """Alarms notify the topic when they start and end, if there is a topic."""
    told = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == told, name


def test_thresholds_have_units(template: dict[str, Any]) -> None:
    """A threshold's name ends in its unit."""
    thresholds = [name for name in template["Parameters"] if re.search(r"Alarm(?!Topic)", name)]
    assert len(thresholds) == 3
    assert all(re.search(r"Alarm(Ms|Percent|Count)$", name) for name in thresholds)


def test_two_stages_do_not_share_metrics(template: dict[str, Any]) -> None:
    """Every metric has the stack's name, as dashboard and alarms expect."""
    variables = template["Resources"]["CompletionsFunction"]["Properties"]["Environment"]
    assert variables["Variables"]["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    assert variables["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] == NAMESPACE


def test_dashboard_names_are_unique_in_an_account(template: dict[str, Any]) -> None:
    """A dashboard's name has stack and region, since dashboards belong to the account."""
    name = template["Resources"]["CompletionsDashboard"]["Properties"]["DashboardName"]["Fn::Sub"]
    assert {SERVICE, "${AWS::Region}"} <= set(re.findall(r"\$\{[^}]+\}", name))
