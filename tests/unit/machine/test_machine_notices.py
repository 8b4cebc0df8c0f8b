"""What the answers of clouds say of the end of a machine."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from worker.machine.metadata import Answer
from worker.machine.notices import (
    LEAST_S,
    Look,
    read_azure_events,
    read_azure_name,
    read_gce_maintenance,
    read_gce_preempted,
    read_rebalance,
    read_spot_action,
)

PIECES = [b"", b"0", b"9999", b"-", b'"', b"{", b"}", b"[", b"null", b"\x00", b"\xff", b"1e999", b"+14:00"]
NOW = datetime(2026, 11, 28, 10, 0, 0, tzinfo=UTC)
LATE = Answer(problem="did not answer in time", is_late=True)
STRANGE = [
    LATE,
    Answer(status=500, body=b"TRUE"),
    Answer(status=403),
    Answer(status=200, body=b"", flavor="Google"),
    Answer(status=200, body=b"<html>TRUE</html>", flavor="Google"),
    Answer(status=200, body=b"[" * 60_000, flavor="Google"),
    Answer(status=200, body=b"\xff\xfe", flavor="Google"),
    Answer(status=200, body=b"[]", flavor="Google"),
    Answer(status=200, body=b"{}", flavor="Google"),
    Answer(status=200, body=b'{"action": "terminate"}', flavor="Google"),
    Answer(status=200, body=b'{"action": "celebrate", "time": "2026-11-28T10:01:00Z"}', flavor="Google"),
    Answer(status=200, body=b'{"action": "stop", "time": "soon"}', flavor="Google"),
    Answer(status=200, body=b'{"action": "stop", "time": "0001-01-01T00:00:00+14:00"}', flavor="Google"),
    Answer(status=200, body=b'{"noticeTime": "0001-01-01T00:00:00+14:00"}', flavor="Google"),
    Answer(status=200, body=b'{"Events": {}}', flavor="Google"),
]


def google(body: bytes) -> Answer:
    """Return a good answer of Compute Engine."""
    return Answer(status=200, body=body, flavor="Google")


def as_json(**values: Any) -> Answer:
    """Return a good answer in JSON."""
    return Answer(status=200, body=json.dumps(values).encode())


def seen(look: Look) -> list[tuple[str, float | None]]:
    """Return weight and time of what is told; there was no problem."""
    assert look.problem == ""
    return [(notice.weight, notice.left_s) for notice in look.notices]


@pytest.mark.parametrize("answer", [*STRANGE, Answer(status=404)])
def test_what_is_no_answer_is_never_a_notice(answer: Answer) -> None:
    """It is a problem, in words that hold nothing of it; 404 is one where AWS does not mean "none" by it."""
    looks = [
        read_gce_preempted(answer),
        read_gce_maintenance(answer, has_gpus=True),
        read_azure_events(answer, "vm-1", NOW),
    ]
    if answer.status != 404:
        looks += [read_spot_action(answer, NOW), read_rebalance(answer)]
    for look in looks:
        assert look.notices == ()
        assert " metadata " in look.problem
        assert "html" not in look.problem
        assert "soon" not in look.problem


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"TRUE\n", [("end", 30.0)]), (b"FALSE", [])],
)
def test_gce_preempts_in_half_a_minute(body: bytes, expected: list[Any]) -> None:
    """It tells no time; what it promises counts."""
    assert seen(read_gce_preempted(google(body))) == expected


def test_an_answer_without_the_words_of_gce_is_a_problem() -> None:
    """A proxy may say TRUE to anything."""
    look = read_gce_preempted(Answer(status=200, body=b"TRUE"))
    assert (look.notices, "Metadata-Flavor" in look.problem) == ((), True)
    look = read_gce_preempted(google(b"true"))
    assert (look.notices, bool(look.problem)) == ((), True)


@pytest.mark.parametrize(
    ("body", "has_gpus", "expected"),
    [
        (b"NONE", True, []),
        (b"MIGRATE_ON_HOST_MAINTENANCE", False, [("pause", None)]),
        (b"TERMINATE_ON_HOST_MAINTENANCE", False, [("end", 60.0)]),
        (b"TERMINATE_ON_HOST_MAINTENANCE", True, [("end", 3600.0)]),
    ],
)
def test_gce_maintains_hosts(body: bytes, has_gpus: bool, expected: list[Any]) -> None:
    """A migration is no end; machines with GPUs are told an hour ahead."""
    assert seen(read_gce_maintenance(google(body), has_gpus=has_gpus)) == expected


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
@pytest.mark.parametrize(
    ("at", "date", "left_s"),
    [
        ("2026-11-28T10:01:30Z", None, 90.0),
        ("2026-11-28T10:01:30.5+00:00", None, 90.5),
        ("2026-11-28T10:01:30", None, 90.0),
        ("2030-01-01T00:00:00Z", None, 120.0),  # our clock is wrong: it is never told so early
        ("2026-11-28T09:00:00Z", None, LEAST_S),
        ("2026-11-28T09:00:50Z", NOW - timedelta(hours=1), 50.0),  # our clock is an hour ahead
    ],
)
def test_aws_says_when_it_takes_a_spot_instance(
    action: str, at: str, date: datetime | None, left_s: float
) -> None:
    """By its own clock, where the answer tells it; two minutes at most, a moment at least."""
    answer = Answer(status=200, body=json.dumps({"action": action, "time": at}).encode(), date=date)
    assert seen(read_spot_action(answer, NOW)) == [("end", left_s)]
    [notice] = read_spot_action(answer, NOW).notices
    assert action in notice.reason


def test_aws_says_404_where_nothing_is_to_come() -> None:
    """A recommendation is a risk, no end."""
    assert seen(read_spot_action(Answer(status=404), NOW)) == []
    assert seen(read_rebalance(Answer(status=404))) == []
    assert seen(read_rebalance(as_json(noticeTime="2026-11-28T10:00:00Z"))) == [("risk", None)]


def event(type_: str, not_before: str = "", *resources: str) -> dict[str, Any]:
    """Return a scheduled event as Azure tells it."""
    return {
        "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
        "EventStatus": "Scheduled" if not_before else "Started",
        "EventType": type_,
        "ResourceType": "VirtualMachine",
        "Resources": list(resources or ("vm_1",)),
        "NotBefore": not_before,
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
    }


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([event("Preempt", "Sat, 28 Nov 2026 10:00:30 GMT")], [("end", 30.0)]),
        ([event("Terminate", "Sat, 28 Nov 2026 10:05:00 GMT", "VM_1")], [("end", 300.0)]),
        ([event("Reboot", "Sat, 28 Nov 2026 10:15:00 GMT")], [("end", 900.0)]),
        ([event("Redeploy", "Sat, 28 Nov 2026 09:00:00 GMT")], [("end", LEAST_S)]),
        ([event("Reboot", "Mon, 28 Dec 2026 10:00:00 GMT")], [("end", 3600.0)]),  # a clock is wrong
        ([event("Preempt")], [("end", LEAST_S)]),  # it has started
        ([event("Freeze", "Sat, 28 Nov 2026 10:15:00 GMT")], [("pause", None)]),
        ([event("Rename", "Sat, 28 Nov 2026 10:15:00 GMT")], []),
        ([event("Preempt", "Sat, 28 Nov 2026 10:00:30 GMT", "vm_2", "vm_10")], []),  # of others
        ([event("Preempt", "soon", "vm_2")], []),  # nor is theirs read
        (
            [event("Freeze"), event("Preempt", "Sat, 28 Nov 2026 10:00:30 GMT", "vm_0", "vm_1")],
            [("pause", None), ("end", 30.0)],
        ),
    ],
)
def test_azure_tells_events_of_many_machines(events: list[Any], expected: list[Any]) -> None:
    """Those of our own count; some seconds of standing still are no end."""
    document = as_json(DocumentIncarnation=7, Events=events)
    assert seen(read_azure_events(document, "vm_1", NOW)) == expected


def test_an_own_event_of_azure_without_a_time_is_a_problem() -> None:
    """No time is made up."""
    look = read_azure_events(as_json(Events=[event("Preempt", "soon")]), "vm_1", NOW)
    assert (look.notices, bool(look.problem)) == ((), True)


@pytest.mark.parametrize("answer", [LATE, as_json(), as_json(name=""), as_json(name=1), Answer(status=404)])
def test_a_machine_of_azure_without_a_name_has_a_problem(answer: Answer) -> None:
    """An event that may be another's must not be taken for ours."""
    name, problem = read_azure_name(answer)
    assert (name, bool(problem)) == ("", True)
    assert read_azure_name(as_json(name="vm_1")) == ("vm_1", "")


def test_whatever_a_cloud_sends_is_read_or_a_problem() -> None:
    """Broken at every place, in some thousands of ways: no reader raises, and no reason quotes it."""
    random = Random(7)
    spot = json.dumps({"action": "terminate", "time": "2026-11-28T10:01:30Z"}).encode()
    events = json.dumps({"Events": [event("Preempt", "Sat, 28 Nov 2026 10:00:30 GMT")]}).encode()
    for good in (b"TRUE", b"MIGRATE_ON_HOST_MAINTENANCE", spot, events):
        for _ in range(1500):
            body = bytearray(good)
            for _ in range(random.randint(1, 4)):
                at = random.randrange(len(body) + 1)
                body[at : at + random.randint(0, 3)] = random.choice(PIECES)
            answer = Answer(status=200, body=bytes(body), flavor="Google")
            for look in (
                read_gce_preempted(answer),
                read_gce_maintenance(answer, has_gpus=False),
                read_spot_action(answer, NOW),
                read_rebalance(answer),
                read_azure_events(answer, "vm_1", NOW),
            ):
                assert not (look.notices and look.problem)
                assert len(look.problem) < 100
                assert all(notice.left_s is None or notice.left_s >= LEAST_S for notice in look.notices)
            read_azure_name(answer)
