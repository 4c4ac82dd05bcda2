"""The doctor on servers that are broken, strict or late."""

from __future__ import annotations

import pytest

from ops.doctor import strict_reader
from ops.doctor.causes import CAUSES
from ops.doctor.turns import SHAPES
from tests.support import histories, patients, strict_servers
from tests.support.doctor import causes, report_on
from tests.support.patients import (
    BROKEN,
    KEY,
    Answer,
    Request,
    healthy,
    late_lump,
    refusal,
    speech,
    turns_only,
)


def test_a_healthy_server_has_no_trouble(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The healthy server, from which the broken ones are made, has no trouble."""
    monkeypatch.setattr(patients, "PACE_S", 0.025)
    status, seen = report_on(healthy, capsys, monkeypatch)
    assert causes(seen) == []
    assert (status, seen["usable"], seen["streams"]["verdict"]) == (0, True, "stream")


@pytest.mark.parametrize("fault", BROKEN)
def test_each_broken_server_has_its_cause(
    fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each broken server's own cause comes first, and the exit status is 1."""
    server, cause = BROKEN[fault]
    patience = ["--timeout-s", "0.7"] if cause == "timeout" else []
    status, seen = report_on(server, capsys, monkeypatch, *patience)
    failures = [name for name in causes(seen) if not CAUSES[name].warning]
    assert failures[0] == cause
    assert (status, seen["usable"]) == (1, False)


def test_the_error_behind_an_apology_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spoken apology is reported together with the error behind it."""
    _, seen = report_on(BROKEN["apologises"][0], capsys, monkeypatch)
    assert causes(seen)[:2] == ["failure_sentence", "upstream_auth"]


STRICT: list[strict_servers.Rule] = [
    *(rule for rules in strict_servers.SERVERS.values() for rule in rules),
    lambda messages: next(iter(histories.faults(messages)), None),
]


def strict(request: Request, answer: Answer) -> Answer:
    """Refuse everything that any model API refuses, but take a prompt of two messages."""
    body = request.json
    history = body.get("messages", ())
    plain = [message["role"] for message in history] == ["system", "user"]
    if {"metadata", "call"} & body.keys() == {"metadata"} or body.get("tools") == []:
        return refusal(400, "invalid_value", "metadata is only allowed when store is enabled.")
    words = None if plain or not history else next(filter(None, (r(history) for r in STRICT)), None)
    return refusal(400, "invalid_request_error", words) if words else answer


def test_each_refused_history_has_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each history that a strict server refuses is reported with the server's words."""
    status, seen = report_on(turns_only(strict), capsys, monkeypatch)
    found = {row["tried"]: [one["cause"] for one in row["troubles"]] for row in seen["checks"]}
    assert {shape.name: found[shape.name] for shape in SHAPES} == {
        shape.name: ["shape_refused"] for shape in SHAPES
    }
    assert found["a turn"] == found["a long answer"] == []
    (row,) = [row for row in seen["checks"] if row["tried"] == "a developer message"]
    assert "developer is not one of" in row["came_back"]
    assert status == 1


def test_a_lump_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was held back until it was whole is a warning if it came in time."""
    status, seen = report_on(late_lump(0.7), capsys, monkeypatch)
    assert causes(seen) == ["lump"]
    assert (status, seen["streams"]["verdict"]) == (0, "lump")


def test_one_slow_answer_is_not_a_lump(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single slow answer is asked again and not reported as a lump."""
    waits = iter([0.7])

    def late_once(request: Request, answer: Answer) -> Answer:
        wait = next(waits, 0.0) if request.long else 0.0
        return Answer(pieces=(wait, answer.body))

    _, seen = report_on(turns_only(late_once), capsys, monkeypatch)
    assert causes(seen) == []
    assert seen["streams"]["verdict"] == "unknown"


def test_a_cut_is_reported_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut stream is reported as cut, and its missing end is not reported again."""
    _, seen = report_on(BROKEN["cut"][0], capsys, monkeypatch)
    assert set(causes(seen)) == {"cut"}


def test_a_request_that_hangs_fails_only_its_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one good turn, a failure concerns its own row, and the others are still tried."""
    hung = turns_only(lambda request, answer: Answer(0) if "tools" in request.json else answer)
    status, seen = report_on(hung, capsys, monkeypatch, "--timeout-s", "1.5")
    assert set(causes(seen)) == {"timeout"}
    assert "skipped" not in {check["result"] for check in seen["checks"]}
    assert status == 1


def test_a_late_lump_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer held back for longer than the platform waits is a failure."""
    status, seen = report_on(late_lump(0.7), capsys, monkeypatch, "--patience-s", "0.5")
    assert "late_words" in causes(seen)
    assert status == 1


def test_a_quick_answer_is_not_a_lump(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is quick as a whole has no trouble."""
    at_once = turns_only(lambda _, answer: answer.changed(lambda data: data))
    status, seen = report_on(at_once, capsys, monkeypatch)
    assert causes(seen) == []
    assert (status, seen["streams"]["verdict"]) == (0, "unknown")


def test_words_that_are_late_once_are_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor asks again, as the platform would, and takes the second answer."""
    waits = iter([1.6])

    def first_late(_: Request, answer: Answer) -> Answer:
        return Answer(pieces=(next(waits, 0.0), *answer.pieces))

    status, seen = report_on(turns_only(first_late), capsys, monkeypatch, "--patience-s", "1.5")
    assert causes(seen) == ["late_once"]
    assert status == 0


def test_buffer_words_are_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffer words before the answer are a warning."""
    spoken = Answer(pieces=speech(["Okay, one moment... ", "Yes."]))
    slow = turns_only(
        lambda request, answer: answer if request.path.endswith("/responses") else spoken
    )
    status, seen = report_on(slow, capsys, monkeypatch)
    assert set(causes(seen)) == {"buffer_words", "no_call"}
    assert status == 0


def test_a_wrong_key_skips_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong key a single turn is tried, since the others would fail alike."""
    status, seen = report_on(healthy, capsys, monkeypatch, key="another")
    assert causes(seen) == ["caller_key"]
    assert status == 1
    assert {check["result"] for check in seen["checks"][2:]} == {"skipped"}


BEDROCK_WANTS_A_KEY = Answer(
    403,
    patients.JSON,
    (b'{"Message":"Authentication failed: Please make sure your API Key is valid."}',),
)


BEDROCK_FORBIDS = Answer(
    403,
    patients.JSON,
    (b'{"Message":"User: u is not authorized to perform: bedrock:InvokeModel on resource: r"}',),
)


@pytest.mark.parametrize(
    ("turn", "found", "exit_status"),
    [(None, [], 0), (BEDROCK_FORBIDS, ["upstream_rights"], 1)],
    ids=["well", "without the right"],
)
def test_bedrock_can_be_checked_directly(
    turn: Answer | None,
    found: list[str],
    exit_status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its 403 for a missing or wrong key counts as a 401; its 403 for a missing right fails."""
    monkeypatch.setattr(patients, "PACE_S", 0.025)

    def bedrock(request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return BEDROCK_WANTS_A_KEY
        return turn or healthy(request)

    status, seen = report_on(bedrock, capsys, monkeypatch)
    assert causes(seen) == found
    assert status == exit_status


def test_a_model_with_a_small_window_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt that only the model refuses leaves the URL usable."""
    full = refusal(400, "context_length_exceeded", "Too many tokens.")
    small = turns_only(lambda request, answer: full if len(request.raw) > 1e6 else answer)
    status, seen = report_on(small, capsys, monkeypatch)
    assert causes(seen) == ["small_window"]
    assert status == 0


def test_an_answer_that_broke_off_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor recognises the sentence with which the deployment closes a cut answer."""
    closed = Answer(pieces=speech(["Well. ", strict_reader.CUT_SENTENCES[1]]))
    cut = turns_only(lambda request, answer: closed if request.long else answer)
    status, seen = report_on(cut, capsys, monkeypatch)
    assert set(causes(seen)) == {"cut_answer"}
    assert status == 0


def test_slow_words_are_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silence that the platform tolerates but a caller notices is a warning."""
    monkeypatch.setattr("ops.doctor.checks.SLOW_WORDS_MS", 0)
    status, seen = report_on(healthy, capsys, monkeypatch)
    assert set(causes(seen)) == {"slow_words"}
    assert status == 0


def test_a_key_over_plain_http_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """http:// is fine on loopback and a warning anywhere else."""
    monkeypatch.setattr("ops.pasted_url._is_loopback", lambda _: False)
    status, seen = report_on(healthy, capsys, monkeypatch)
    assert causes(seen) == ["plain_http"]
    assert status == 0
