"""How an outcome reaches the server: in virtual time, against a stub and a journal in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.unit.agent.stub_api import Answer, Request, StubApi, error
from tests.unit.reporting.memory import MemoryIO
from tests.virtual import VirtualClock, run_virtual
from worker.api.ids import requeue_run_id
from worker.api.retry import Retrier
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.journal import Journal
from worker.reporting.records import Entry

AT = "2026-01-01T00:00:01.000Z"
LIVE = {"id": "r", "taskId": "t", "podId": "pod/a", "startedAt": AT, "stoppedAt": None, "createdAt": AT}
REPORT = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Success", "results": {"value": 7}, "progress": 1}
DRAINED = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Failed", "error": "drained: SIGTERM"}
DONE = LIVE | REPORT
LAG_S = 2.0


class Case:
    """One delivery, what became of it, and what the journal holds then."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        """Deliver against a stub that answers so."""
        self.stub = StubApi(answer)
        self.delivered: Delivered | None = None
        self.entries: dict[str, Entry] = {}
        self.took_s = 0.0

    async def run(
        self, report: dict[str, Any], requeue: bool, marks: tuple[str, ...], limit_s: float
    ) -> None:
        """Deliver, for so long at most."""
        journal = await Journal.open(MemoryIO(), VirtualClock())
        entry = Entry(
            run_id="r", task_id="t", job_id="j", pod_id="pod/a", started_at=AT, marks=marks, intent=LIVE
        )
        await journal.intent(entry)
        await journal.terminal("r", report, requeue=requeue)
        delivery = Delivery(
            self.stub.api,
            journal,
            Retrier(Random(1), VirtualClock()),
            new_id=lambda: "echo",
            lag_s=LAG_S,
            kept_at="/state/journal",
        )
        try:
            async with asyncio.timeout(limit_s):
                self.delivered = await delivery.deliver(journal.entries["r"])
        except TimeoutError:
            pass
        self.took_s = asyncio.get_running_loop().time()
        self.entries = dict(journal.entries)


def deliver(
    answer: Callable[[Request], Answer] | list[Answer],
    report: dict[str, Any] = REPORT,
    *,
    requeue: bool = False,
    marks: tuple[str, ...] = (),
    limit_s: float = 3600.0,
) -> Case:
    """Deliver an outcome; a list of answers is given in turn, the last one for ever."""
    if isinstance(answer, list):
        answers = list(answer)
        case = Case(lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
    else:
        case = Case(answer)
    run_virtual(case.run(report, requeue, marks, limit_s))
    return case


def test_an_accepted_outcome_closes_its_entry() -> None:
    """One request where nothing goes wrong."""
    case = deliver([(200, DONE)])
    assert case.delivered is Delivered.ACCEPTED
    assert not case.entries
    assert len(case.stub.requests) == 1


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
    assert case.entries["r"].marks == ("fenced",)
    assert case.took_s >= LAG_S


@pytest.mark.parametrize(
    "shown", [DONE | {"podId": "pod/b"}, LIVE | {"podId": "pod/b"}, DONE | {"resultCode": "Failed"}]
)
def test_a_run_that_is_somebody_elses_or_ended_otherwise_leaves_it_on_disk(shown: dict[str, Any]) -> None:
    """One look is enough: neither is ever undone."""
    case = deliver(lambda request: (409, error("x")) if request.method == "PUT" else (200, shown))
    assert case.delivered is Delivered.FENCED
    assert case.entries["r"].marks == ("fenced",)


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
