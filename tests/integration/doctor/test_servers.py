"""The doctor on servers that are broken, strict or late."""

from __future__ import annotations

import pytest

from ops.doctor import dialects
from ops.doctor.causes import CAUSES
from ops.doctor.turns import SHAPES
from tests.support import histories, patients, strict_servers
from tests.support.doctor import causes, told
from tests.support.patients import (
    ILL,
    KEY,
    Answer,
    Request,
    healthy,
    late_lump,
    speech,
    turns_only,
)
from tests.support.patients import told as refusal


def test_a_healthy_server_is_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that the ill ones are made from has no trouble at all."""
    monkeypatch.setattr(patients, "PACE_S", 0.025)
    status, seen = told(healthy, capsys, monkeypatch)
    assert causes(seen) == []
    assert (status, seen["usable"], seen["streams"]["verdict"]) == (0, True, "stream")


@pytest.mark.parametrize("illness", ILL)
def test_each_illness_is_known(
    illness: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each broken server gets its own cause, first of all, and the exit status 1."""
    server, cause = ILL[illness]
    patience = ["--timeout-s", "0.7"] if cause == "timeout" else []
    status, seen = told(server, capsys, monkeypatch, *patience)
    failures = [name for name in causes(seen) if not CAUSES[name].warning]
    assert failures[0] == cause
    assert (status, seen["usable"]) == (1, False)


def test_an_apology_is_asked_for_its_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the spoken apology stands what a client that asks for errors hears."""
    _, seen = told(ILL["apologises"][0], capsys, monkeypatch)
    assert causes(seen)[:2] == ["failure_sentence", "upstream_auth"]


STRICT: list[strict_servers.Rule] = [
    *(rule for rules in strict_servers.SERVERS.values() for rule in rules),
    lambda messages: next(iter(histories.faults(messages)), None),
]


def strict(request: Request, answer: Answer) -> Answer:
    """Refuses all that any model API refuses, but takes a prompt of two messages."""
    body = request.json
    history = body.get("messages", ())
    plain = [message["role"] for message in history] == ["system", "user"]
    if {"metadata", "call"} & body.keys() == {"metadata"} or body.get("tools") == []:
        return refusal(400, "invalid_value", "metadata is only allowed when store is enabled.")
    words = None if plain or not history else next(filter(None, (r(history) for r in STRICT)), None)
    return refusal(400, "invalid_request_error", words) if words else answer


def test_each_shape_that_a_model_refuses_has_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is strict about histories is told what would end its calls, by its words."""
    status, seen = told(turns_only(strict), capsys, monkeypatch)
    found = {row["tried"]: [one["cause"] for one in row["troubles"]] for row in seen["checks"]}
    assert {shape.name: found[shape.name] for shape in SHAPES} == {
        shape.name: ["shape_refused"] for shape in SHAPES
    }
    assert found["a turn"] == found["a long answer"] == []
    (row,) = [row for row in seen["checks"] if row["tried"] == "a developer message"]
    assert "developer is not one of" in row["came_back"]
    assert status == 1


def test_one_lump_is_told_from_a_stream(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was held back until it was whole is a warning while the platform waits."""
    status, seen = told(late_lump(0.7), capsys, monkeypatch)
    assert causes(seen) == ["lump"]
    assert (status, seen["streams"]["verdict"]) == (0, "lump")


def test_late_by_chance_is_no_lump(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was slow to begin once, and quick then, is asked again before it is accused."""
    waits = iter([0.7])

    def late_once(request: Request, answer: Answer) -> Answer:
        wait = next(waits, 0.0) if request.long else 0.0
        return Answer(pieces=(wait, answer.body))

    _, seen = told(turns_only(late_once), capsys, monkeypatch)
    assert causes(seen) == []
    assert seen["streams"]["verdict"] == "unknown"


def test_what_follows_from_a_cut_is_no_cause_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut stream lacks its end, and is told to be cut, and no more."""
    _, seen = told(ILL["cut"][0], capsys, monkeypatch)
    assert set(causes(seen)) == {"cut"}


def test_one_request_that_hangs_does_not_end_the_visit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a turn went well, a failure is one row's: the others are tried all the same."""
    hung = turns_only(lambda request, answer: Answer(0) if "tools" in request.json else answer)
    status, seen = told(hung, capsys, monkeypatch, "--timeout-s", "1.5")
    assert set(causes(seen)) == {"timeout"}
    assert "skipped" not in {check["result"] for check in seen["checks"]}
    assert status == 1


def test_one_lump_that_is_late_cannot_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held back for longer than the platform waits, it is none that an agent can use."""
    status, seen = told(late_lump(0.7), capsys, monkeypatch, "--patience-s", "0.5")
    assert "late_words" in causes(seen)
    assert status == 1


def test_a_quick_answer_is_no_lump(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is quick as a whole is not accused of anything."""
    at_once = turns_only(lambda _, answer: answer.changed(lambda data: data))
    status, seen = told(at_once, capsys, monkeypatch)
    assert causes(seen) == []
    assert (status, seen["streams"]["verdict"]) == (0, "unknown")


def test_words_that_are_late_once_are_forgiven(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor asks again as the platform would, and takes the second answer."""
    waits = iter([1.6])

    def first_late(_: Request, answer: Answer) -> Answer:
        return Answer(pieces=(next(waits, 0.0), *answer.pieces))

    status, seen = told(turns_only(first_late), capsys, monkeypatch, "--patience-s", "1.5")
    assert causes(seen) == ["late_once"]
    assert status == 0


def test_buffer_words_are_not_taken_for_the_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of ours before the answer are a warning, which tells when the model spoke."""
    spoken = Answer(pieces=speech(["Okay, one moment... ", "Yes."]))
    slow = turns_only(
        lambda request, answer: answer if request.path.endswith("/responses") else spoken
    )
    status, seen = told(slow, capsys, monkeypatch)
    assert set(causes(seen)) == {"buffer_words", "no_call"}
    assert status == 0


def test_a_wrong_key_is_the_callers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong key one turn is tried, and no more: the rest would say the same."""
    status, seen = told(healthy, capsys, monkeypatch, key="another")
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
def test_bedrock_itself_can_be_asked(
    turn: Answer | None,
    found: list[str],
    exit_status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its 403 to no key, a wrong one and /health is as good as a 401; its other 403 is not."""
    monkeypatch.setattr(patients, "PACE_S", 0.025)

    def bedrock(request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return BEDROCK_WANTS_A_KEY
        return turn or healthy(request)

    status, seen = told(bedrock, capsys, monkeypatch)
    assert causes(seen) == found
    assert status == exit_status


def test_a_model_with_a_small_window_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that the server takes and the model refuses is no reason to say no."""
    full = refusal(400, "context_length_exceeded", "Too many tokens.")
    small = turns_only(lambda request, answer: full if len(request.raw) > 1e6 else answer)
    status, seen = told(small, capsys, monkeypatch)
    assert causes(seen) == ["small_window"]
    assert status == 0


def test_an_answer_that_broke_off_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployment's own closing sentence is known for what it is."""
    closed = Answer(pieces=speech(["Well. ", dialects.CUT_SENTENCES[1]]))
    cut = turns_only(lambda request, answer: closed if request.long else answer)
    status, seen = told(cut, capsys, monkeypatch)
    assert set(causes(seen)) == {"cut_answer"}
    assert status == 0


def test_slow_words_are_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence that a platform bears, and a caller notices, is told."""
    monkeypatch.setattr("ops.doctor.checks.SLOW_WORDS_MS", 0)
    status, seen = told(healthy, capsys, monkeypatch)
    assert set(causes(seen)) == {"slow_words"}
    assert status == 0


def test_a_key_in_plain_sight_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """http:// is fine on this machine and told anywhere else."""
    monkeypatch.setattr("ops.pasted_url._is_loopback", lambda _: False)
    status, seen = told(healthy, capsys, monkeypatch)
    assert causes(seen) == ["plain_http"]
    assert status == 0
