"""How an outcome reaches the server: in virtual time, against a stub and a journal in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.agent.delivery_case import AT, DONE, DRAINED, LAG_S, LIVE, REPORT, deliver
from tests.unit.agent.stub_api import Answer, Request, error
from worker.api.ids import requeue_run_id
from worker.reporting.delivery import Delivered
from worker.reporting.entry_state import reason_of
from worker.reporting.records import LATE_MARK
from worker.reporting.reporter import LATE_S


def test_an_accepted_outcome_closes_its_entry() -> None:
    """One request where nothing goes wrong."""
    case = deliver([(200, DONE)])
    assert case.delivered is Delivered.ACCEPTED
    assert not case.entries
    assert len(case.stub.requests) == 1


@pytest.mark.parametrize(
    ("later", "is_again"),
    [((200, DONE), True), ((503, {}), True), ((404, {}), True), ((409, {}), False), ((422, {}), False)],
)
def test_an_outcome_is_sent_again_where_a_live_report_may_have_come_after_it(
    later: Answer, is_again: bool
) -> None:
    """A minute later, and its entry stays until then; not where reports on ended runs are refused."""

    def answers() -> Callable[[Request], Answer]:
        left = iter([(200, DONE), later])
        return lambda _: next(left, (200, DONE))

    case = deliver(answers(), marks=(LATE_MARK,))
    assert [one.body for one in case.stub.asked("PUT")] == [REPORT] * (2 + is_again)
    assert (case.delivered, case.entries) == (Delivered.ACCEPTED, {})
    assert case.took_s == pytest.approx(LATE_S if is_again else 0.0, abs=1.0)
    assert ("r" in deliver(answers(), marks=(LATE_MARK,), limit_s=LATE_S / 2).entries) is is_again


def test_an_outcome_is_sent_once_where_nothing_can_come_after_it() -> None:
    """Neither where every live report was answered, nor where one that comes later is refused for sure."""
    ours = (200, DONE, {"Millhand-Claims": "unique"})
    for case in (deliver(lambda _: (200, DONE)), deliver(lambda _: ours, marks=(LATE_MARK,))):
        assert [one.body for one in case.stub.asked("PUT")] == [REPORT]
        assert (case.delivered, case.entries) == (Delivered.ACCEPTED, {})


def test_an_outcome_that_was_cut_down_is_sent_again_without_a_question() -> None:
    """That the whole of it is refused says nothing of the run."""

    def answer(request: Request) -> Answer:
        return (413, {}) if "value" in request.body.get("results", {}) else (200, LIVE | request.body)

    case = deliver(answer, marks=(LATE_MARK,))
    sent = [one for one in case.stub.asked("PUT") if "note" in one.body["results"]]
    assert (case.delivered, len(sent)) == (Delivered.REDUCED, 2)
    assert case.took_s == pytest.approx(LATE_S, abs=1.0)


def test_results_that_were_cut_down_to_be_accepted_stay_on_disk() -> None:
    """The note in the run names the journal: there they must be."""

    def answer(request: Request) -> Answer:
        if request.method == "PUT" and "value" in request.body["results"]:
            return 413, {}
        return (200, DONE | request.body) if request.method == "PUT" else (200, LIVE)

    case = deliver(answer)
    assert case.delivered is Delivered.REDUCED
    assert case.entries["r"].terminal == REPORT
    assert case.entries["r"].marks == ("reduced",)
    assert "/state/journal" in case.stub.asked("PUT")[-1].body["results"]["note"]


def test_results_that_were_cut_down_stay_where_the_answer_gets_lost_too() -> None:
    """The run is found stopped by our own report, with the note in it."""
    note = {"note": "they are kept in /state/journal"}
    case = deliver(
        lambda request: (409, error("x")) if request.method == "PUT" else (200, DONE | {"results": note})
    )
    assert case.delivered is Delivered.REDUCED
    assert case.entries["r"].marks == ("reduced",)


@pytest.mark.parametrize("status", [404, 409, 410, 422])
def test_our_own_report_is_known_whatever_a_server_says_of_a_stopped_run(status: int) -> None:
    """The first answer got lost; servers refuse the second report in different ways."""
    answers: list[Answer] = [(502, {}), (status, error("x")), (200, DONE)]
    case = deliver(answers)
    assert case.delivered is Delivered.ACCEPTED
    assert not case.entries


@pytest.mark.parametrize("status", [404, 405, 407, 408, 409, 421, 425, 431, 451, 502])
def test_what_a_proxy_says_is_never_the_last_word(status: int) -> None:
    """An hour of it, for reports and looks alike; then the outcome is accepted."""
    asked = 0

    def answer(_: Request) -> Answer:
        nonlocal asked
        asked += 1
        return (status, "<html>not here</html>") if asked < 60 else (200, DONE)

    case = deliver(answer, limit_s=86_400.0)
    assert case.delivered is Delivered.ACCEPTED
    assert not case.entries


def test_a_refusal_that_a_proxys_page_cannot_confirm_fences_nothing() -> None:
    """The report is refused as of a stopped run, and the look at it meets an ingress."""
    case = deliver([(409, error("run_stopped")), (404, "<html>"), (409, error("run_stopped")), (200, DONE)])
    assert case.delivered is Delivered.ACCEPTED


def test_a_run_that_a_replica_does_not_show_yet_is_not_given_up() -> None:
    """404 must persist for longer than reads lag."""
    missing = (404, error("run_not_found"))
    case = deliver([missing, missing, (200, LIVE), (200, DONE)])
    assert case.delivered is Delivered.ACCEPTED
    assert case.took_s >= LAG_S


def test_a_run_that_is_gone_for_good_leaves_its_outcome_on_disk() -> None:
    """Marked, for a person."""
    case = deliver([(404, error("run_not_found"))])
    assert case.delivered is Delivered.FENCED
    assert reason_of(case.entries["r"]) is not None
    assert case.entries["r"].marks[-1] == "fenced"
    assert case.took_s >= LAG_S


@pytest.mark.parametrize(
    "shown", [DONE | {"podId": "pod/b"}, LIVE | {"podId": "pod/b"}, DONE | {"resultCode": "Failed"}]
)
def test_a_run_that_is_somebody_elses_or_ended_otherwise_leaves_it_on_disk(shown: dict[str, Any]) -> None:
    """One look is enough: neither is ever undone."""
    case = deliver(lambda request: (409, error("x")) if request.method == "PUT" else (200, shown))
    assert case.delivered is Delivered.FENCED
    assert reason_of(case.entries["r"]) is not None
    assert case.entries["r"].marks[-1] == "fenced"


def test_a_requeue_is_not_given_up_because_an_ingress_says_404() -> None:
    """The server restarts while the agent drains: the task must not end as failed."""
    posted: list[Any] = []
    asked = 0

    def answer(request: Request) -> Answer:
        nonlocal asked
        asked += 1
        if asked < 20:
            return 404, "<html>no backend</html>"
        if request.method == "POST":
            posted.append(request.body["id"])
            return 200, {"id": request.body["id"]}
        if request.method == "PUT":
            return 200, LIVE | DRAINED
        return (
            (200, [{"id": "j", "schedulerState": "active"}])
            if "jobs/j" in request.path
            else (404, error("x"))
        )

    case = deliver(answer, DRAINED, requeue=True)
    assert posted == [requeue_run_id("r")]
    assert case.delivered is Delivered.ACCEPTED


def test_the_task_of_a_cancelled_job_is_not_requeued_because_an_ingress_says_404() -> None:
    """What a proxy says of the job is no answer."""
    faults: list[Answer] = [(404, "<html>no backend</html>")] * 2

    def answer(request: Request) -> Answer:
        if "jobs/j" in request.path:
            return faults.pop() if faults else (200, [{"id": "j", "schedulerState": "cancelled"}])
        if request.method == "PUT" or "runs/r" in request.path:
            return 200, LIVE | (DRAINED if request.method == "PUT" else {})
        return 404, error("run_not_found")

    case = deliver(answer, DRAINED, requeue=True)
    assert case.stub.asked("POST") == []
    assert case.delivered is Delivered.ACCEPTED


def test_a_run_that_somebody_ended_is_not_requeued() -> None:
    """A person closed it while its agent was down: the task may be running elsewhere by now."""
    ended = LIVE | {"stoppedAt": AT, "resultCode": "Failed", "error": "worker_lost: closed by hand"}

    def answer(request: Request) -> Answer:
        if request.method == "GET" and "runs/r" in request.path:
            return 200, ended
        return (409, error("run_stopped")) if request.method == "PUT" else (404, error("not_found"))

    case = deliver(answer, DRAINED, requeue=True)
    assert case.stub.asked("POST") == []
    assert case.delivered is Delivered.FENCED


def test_a_requeue_that_is_refused_does_not_keep_the_outcome_back() -> None:
    """Whatever the looks after it say."""

    def answer(request: Request) -> Answer:
        return (200, LIVE | DRAINED) if request.method == "PUT" else (400, error("bad"))

    case = deliver(answer, DRAINED, requeue=True)
    assert case.delivered is Delivered.ACCEPTED


@pytest.mark.parametrize("status", [413, 422])
def test_a_server_that_refuses_large_results_is_told_the_wait_all_the_same(status: int) -> None:
    """Before the task is pending, and for good: whoever claims it reads the wait in the run."""
    retry = {"attempt": 1, "maxAttempts": 3, "afterS": 600.0, "reason": "attempt 1 of 3, next in 600 s"}
    failed = DRAINED | {"error": "timeout: x", "results": {"retry": retry, "logTail": "x" * 100}}
    shown: dict[str, Any] = dict(LIVE)
    at_the_requeue: list[Any] = []

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            if "logTail" in request.body["results"]:
                return status, error("update_run_error")
            shown.update(request.body)
            return 200, shown
        if request.method == "POST":
            at_the_requeue.append(shown.get("results"))
            return 200, {"id": request.body["id"]}
        return (200, shown) if "runs/r" in request.path else (404, error("not_found"))

    case = deliver(answer, failed, requeue=True)
    assert at_the_requeue == [{"retry": retry}]
    assert case.delivered is Delivered.REDUCED
    assert shown["results"]["retry"] == retry
    assert shown["stoppedAt"] == AT
