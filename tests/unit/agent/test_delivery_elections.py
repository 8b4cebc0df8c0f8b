"""How the outcome of an elected run becomes what its task shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.agent.delivery_case import AT, DONE, DRAINED, LIVE, deliver
from tests.unit.agent.stub_api import Answer, Request, error
from worker.api.ids import requeue_run_id
from worker.reporting.delivery import Delivered


def run_shown(id_: str, second: int, **fields: Any) -> dict[str, Any]:
    """Return a run as a list shows it."""
    at = f"2026-01-01T00:00:{second:02d}.000Z"
    return {
        "id": id_,
        "taskId": "t",
        "podId": "pod/b",
        "createdAt": at,
        "startedAt": at,
        "stoppedAt": at,
    } | fields


OURS = DONE | {"createdAt": "2026-01-01T00:00:02.000Z"}
LOST = run_shown("late", 3, resultCode="Failed", error="lost_claim: another run was earlier")


def test_an_elected_run_is_shown_over_claims_that_will_lose_or_whose_agent_died() -> None:
    """They are live and more recent; nobody waits for them."""
    runs = [OURS, LOST | {"stoppedAt": None, "error": None}]

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            runs.append(run_shown("echo", 9) | request.body)
        if request.path.endswith("runs"):
            return 200, runs[-1] if request.method == "POST" else {"runs": runs}
        return 200, DONE

    case = deliver(answer, marks=("elected",))
    assert case.delivered is Delivered.ACCEPTED
    assert [run["id"] for run in runs] == ["r", "late", "echo"]


def test_what_is_left_of_a_claim_that_lost_answers_made_several_of_is_stopped() -> None:
    """A doubled request arrives while the run is going, and is shown as live for ever."""
    double = OURS | {"id": "double", "stoppedAt": None, "createdAt": LOST["createdAt"]}
    runs: list[dict[str, Any]] = [OURS, double]

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            runs[:] = [run | request.body if run["id"] in request.path else run for run in runs]
            return 200, DONE
        return 200, {"runs": runs}

    case = deliver(answer, marks=("elected",))
    assert case.delivered is Delivered.ACCEPTED
    assert all(run["stoppedAt"] for run in runs)
    assert case.stub.asked("POST") == []


@pytest.mark.parametrize("fault", [(502, {}), (404, "<html>"), (200, "<html>"), (429, {})])
@pytest.mark.parametrize("kind", ["GET", "POST"])
def test_the_task_of_an_elected_run_shows_its_outcome_in_spite_of_a_fault(fault: Answer, kind: str) -> None:
    """A lost claim is more recent: one more run carries the outcome."""
    faults = [fault, fault]
    runs = [OURS, LOST]

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            return 200, DONE
        if faults and request.method == kind:
            return faults.pop()
        if request.method == "POST":
            runs.append(run_shown("echo", 9) | request.body)
            return 200, runs[-1]
        return 200, {"runs": runs}

    case = deliver(answer, marks=("elected",))
    assert case.delivered is Delivered.ACCEPTED
    assert [run["id"] for run in runs] == ["r", "late", "echo"]


def test_what_may_arrive_late_is_waited_for() -> None:
    """A claim was posted twice, as its first answer did not come; the first request arrives after the end."""
    runs: list[dict[str, Any]] = [OURS]

    def answer(request: Request) -> Answer:
        if asyncio.get_running_loop().time() > 30.0 and len(runs) == 1:
            runs.append(OURS | {"id": "double", "stoppedAt": None, "createdAt": LOST["createdAt"]})
        if request.method == "PUT":
            runs[:] = [run | request.body if run["id"] in request.path else run for run in runs]
            return 200, DONE
        return 200, {"runs": runs}

    deliver(answer, marks=("elected", "doubted"))
    assert [run["stoppedAt"] for run in runs] == [AT, AT]


def test_the_requeue_of_an_elected_run_is_not_given_up_because_an_ingress_says_404() -> None:
    """Nor is it posted where the list shows that it was."""
    faults: list[Answer] = [(404, "<html>")] * 3

    def answer(request: Request) -> Answer:
        if request.method == "GET" and request.path.endswith("runs"):
            return faults.pop() if faults else (200, {"runs": [LIVE]})
        if request.method == "GET":
            return (200, LIVE) if "runs/r" in request.path else (404, error("x"))
        return 200, LIVE | DRAINED

    case = deliver(answer, DRAINED, requeue=True, marks=("elected",))
    assert [request.body["id"] for request in case.stub.asked("POST")] == [requeue_run_id("r")]


def test_an_elected_run_whose_task_goes_on_is_not_shown_again() -> None:
    """It was requeued and claimed since; a lost claim of that race is the most recent run."""
    placeholder = run_shown("p", 3, startedAt=None, stoppedAt="2026-01-01T00:00:04.000Z", error="requeued: x")
    runs = [
        OURS | DRAINED,
        placeholder,
        run_shown("next", 5, stoppedAt=None),
        LOST | {"createdAt": AT[:-5] + "9.000Z"},
    ]

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            return 200, LIVE | DRAINED
        return (200, {"runs": runs}) if request.path.endswith("runs") else (404, error("x"))

    case = deliver(answer, DRAINED, requeue=True, marks=("elected",))
    assert case.delivered is Delivered.ACCEPTED
    assert case.stub.asked("POST") == []  # neither an echo nor one more placeholder
