"""The sources of notices as they are, beside a metadata server on the clouds' own address in a namespace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.machine.enter import in_namespace

NAMES = {
    "GCE preempted",
    "GCE maintenance-event",
    "AWS spot/instance-action",
    "AWS events/recommendations/rebalance",
    "Azure scheduledevents",
}
TAKEN = ("GCE preempted", "AWS spot/instance-action", "Azure scheduledevents")
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Return what each source told in each case."""
    found: Answers = json.loads(in_namespace("tests.unit.machine.namespace_notices"))
    return found


def weights(answers: Answers, case: str) -> dict[str, list[list[str]]]:
    """Return what was told, look after look; nothing was a problem."""
    told = answers[case]["told"]
    assert [look["problem"] for looks in told.values() for look in looks if look["problem"]] == []
    return {
        name: [[notice["weight"] for notice in look["notices"]] for look in looks]
        for name, looks in told.items()
    }


def test_no_source_tells_of_an_end_that_is_none(answers: Answers) -> None:
    """Every question had its cloud's headers."""
    assert weights(answers, "quiet") == {key: [[]] for key in NAMES}
    assert not [request for request in answers["quiet"]["requests"] if "refused" in request]


def test_each_cloud_tells_of_the_end(answers: Answers) -> None:
    """GCE in answer to the question that waited for it; with the time that is left."""
    seen = weights(answers, "taken")
    assert {name: seen[name] for name in TAKEN} == {key: [[], ["end"]] for key in TAKEN}
    times = {name: answers["taken"]["told"][name][1]["notices"][0]["left_s"] for name in TAKEN}
    assert times["GCE preempted"] == 30.0
    assert 5.0 <= times["AWS spot/instance-action"] <= 120.0
    assert 5.0 <= times["Azure scheduledevents"] <= 30.0
    waits = [request for request in answers["taken"]["requests"] if "wait_for_change=true" in request]
    assert waits
    assert all("last_etag=" in wait and "timeout_sec=60" in wait for wait in waits)


def test_each_cloud_takes_it_back(answers: Answers) -> None:
    """What is not told any more does not stand."""
    seen = weights(answers, "withdrawn")
    assert {name: seen[name] for name in TAKEN} == {key: [["end"], []] for key in TAKEN}


def test_an_event_of_another_machine_is_none(answers: Answers) -> None:
    """Azure shows those of the whole set."""
    assert weights(answers, "another's")["Azure scheduledevents"] == [[]]


def test_a_token_that_aws_refuses_is_replaced(answers: Answers) -> None:
    """Within the same look; nothing of it is seen."""
    assert weights(answers, "new token")["AWS spot/instance-action"] == [[], []]
    requests = answers["new token"]["requests"]
    assert [request for request in requests if "refused" in request]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("403", "answered 403"),
        ("404", "answered 404"),
        ("500", "answered 500"),
        ("garbage", "answered something else than a value"),
        ("giant", "answered with more than 64 KiB"),
        ("raw", "answered something that is no HTTP"),
        ("redirect", "answered 302"),
        ("hang", "did not answer in time"),
        ("drip", "did not answer in time"),
    ],
)
def test_what_is_no_answer_is_a_problem_and_never_a_notice(
    answers: Answers, case: str, expected: str
) -> None:
    """Bounded, and nothing of it is repeated. AWS says 404 where nothing is to come."""
    for name, looks in answers[case]["told"].items():
        [look] = looks
        assert look["notices"] == [], name
        is_fine = case == "404" and name.startswith("AWS")
        assert (look["problem"] == "") == is_fine
        assert is_fine or expected in look["problem"]
        assert "secret" not in json.dumps(look)
    assert answers[case]["took_s"] < 60


def test_who_does_not_say_that_it_is_gce_is_not_believed(answers: Answers) -> None:
    """A proxy may answer there."""
    look = answers["no flavor"]["told"]["GCE preempted"][0]
    assert (look["notices"], "Metadata-Flavor" in look["problem"]) == ([], True)
