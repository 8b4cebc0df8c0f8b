"""What a new life of an agent makes of what it finds in the journal; in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec import structs

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.claim_case import INGRESS, LOST, Shelf
from tests.unit.agent.stub_api import Answer, Request, StubApi, error
from tests.unit.reporting.memory import MemoryIO, no_space
from worker.agent.policies import INTERRUPTIONS_MAX, Policies
from worker.agent.recovery import Recovery, last_bill
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.ids import claim_run_id
from worker.api.retry import Retrier
from worker.reporting.journal import Journal
from worker.reporting.records import DELIVERED_MARK, STORED_MARK, Entry
from worker.storage.file import SpooledFile
from worker.usage.usage import Usage, read_details

AT = "2026-01-01T00:00:01.000Z"
OURS = {"id": "r", "taskId": "t", "jobId": "j", "podId": "pod/a", "startedAt": AT}
INTENT = Entry(run_id="r", task_id="t", job_id="j", pod_id="pod/a", started_at=AT, intent=OURS)
SUCCESS = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Success", "results": {}}
SPOOLED = SpooledFile(name="a", path="r/0", size_bytes=1, sha256="ab" * 32, content_type="text/plain")
FAILURE = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Failed", "error": "handler_error: no"}


class Desk:
    """What is handed over for delivery, and what is left in the journal."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.delivered: list[Entry] = []
        self.resumed: list[Entry] = []
        self.followed_up: list[str] = []
        self.entries: dict[str, Entry] = {}


def recovered(
    answer: Callable[[Request], Answer],
    terminal: dict[str, Any] | None = None,
    kind: ServerKind = ServerKind.KEY,
    *,
    is_disk_full: bool = False,
    has_files: bool = False,
    marks: tuple[str, ...] = (),
    intent: dict[str, Any] = OURS,
) -> tuple[Desk, StubApi]:
    """Recover one entry."""
    stub, desk = StubApi(answer), Desk()

    async def main() -> None:
        clock = VirtualClock()
        disk = MemoryIO()
        journal = await Journal.open(disk, clock)
        await journal.intent(structs.replace(INTENT, run_id=intent["id"], intent=intent))
        if has_files:
            await journal.ended("r", SUCCESS, (SPOOLED,))
        if terminal is not None:
            await journal.terminal("r", terminal, unstored=(SPOOLED,) if has_files else ())
        for mark in marks:
            await journal.mark("r", mark)
        if is_disk_full:
            disk.fail = lambda call, name: no_space()
        runs = RunWire(stub.api, Retrier(Random(1), clock), clock, Random(1), dict)
        deliver = desk.delivered.append
        await Recovery(
            runs, journal, clock, kind=kind, settle_s=1.0, policies=Policies({}, None), deliver=deliver,
            resume=desk.resumed.append, follow_up=desk.followed_up.append,
        ).run()  # fmt: skip
        desk.entries = dict(journal.entries)

    run_virtual(main())
    return desk, stub


@pytest.mark.parametrize("terminal", [SUCCESS, FAILURE])
@pytest.mark.parametrize("answer", [INGRESS, (404, error("run_not_found")), (200, OURS)])
def test_an_outcome_is_delivered_unless_its_run_is_seen_to_be_anothers(
    answer: Answer, terminal: dict[str, Any]
) -> None:
    """At the start the server may be behind an ingress that says 404: the delivery finds out."""
    desk, _ = recovered(lambda _: answer, terminal)
    assert [entry.run_id for entry in desk.delivered] == ["r"]
    assert "r" in desk.entries


@pytest.mark.parametrize("terminal", [SUCCESS, FAILURE])
def test_an_outcome_whose_run_is_anothers_stays_for_a_person(terminal: dict[str, Any]) -> None:
    """A failure is an outcome too."""
    desk, _ = recovered(lambda _: (200, OURS | {"podId": "pod/b"}), terminal)
    assert desk.delivered == []
    assert desk.entries["r"].marks == ("fenced",)


@pytest.mark.parametrize("answer", [INGRESS, LOST, (404, error("run_not_found")), (200, OURS)])
def test_a_run_that_waits_for_its_files_is_taken_up_whatever_the_server_says(answer: Answer) -> None:
    """It is no lost run: nobody is asked before its files are stored further."""
    desk, stub = recovered(lambda _: answer, has_files=True)
    assert [entry.run_id for entry in desk.resumed] == ["r"]
    assert desk.delivered == []
    assert desk.entries["r"].ended == SUCCESS
    assert stub.requests == []


def test_a_run_that_was_told_before_its_files_were_stored_is_followed_up() -> None:
    """Its report is delivered again where that is open, and only there."""
    desk, _ = recovered(lambda _: (200, OURS), FAILURE, has_files=True)
    assert (desk.followed_up, len(desk.delivered)) == (["r"], 1)
    desk, _ = recovered(lambda _: (200, OURS), FAILURE, has_files=True, marks=(DELIVERED_MARK,))
    assert (desk.followed_up, len(desk.delivered)) == (["r"], 0)
    desk, _ = recovered(lambda _: (200, OURS), FAILURE, has_files=True, marks=("reduced",))
    assert (desk.followed_up, len(desk.delivered)) == (["r"], 0)


def test_a_run_whose_files_and_report_are_where_they_belong_is_closed() -> None:
    """The agent died between the last two notes."""
    desk, _ = recovered(lambda _: (200, OURS), FAILURE, has_files=True, marks=(STORED_MARK, DELIVERED_MARK))
    assert desk.entries == {}
    assert desk.followed_up == []


@pytest.mark.parametrize("terminal", [None, FAILURE])
def test_a_run_that_is_anothers_is_left_with_its_files(terminal: dict[str, Any] | None) -> None:
    """A person decides."""
    desk, _ = recovered(lambda _: (200, OURS), terminal, has_files=True, marks=("fenced",))
    assert (desk.resumed, desk.followed_up, desk.delivered) == ([], [], [])
    assert desk.entries["r"].files == (SPOOLED,)


@pytest.mark.parametrize("times", [1, 5])
def test_an_open_run_is_ended_in_spite_of_an_ingress_that_says_404(times: int) -> None:
    """Its entry is not closed on the word of a proxy: the run would stay live for ever."""
    shelf = Shelf()
    shelf.create(OURS)
    shelf.instead = {"GET": [(False, INGRESS)] * times, "POST": [(False, INGRESS)] * times, "PUT": []}
    desk, _ = recovered(shelf)
    assert [entry.run_id for entry in desk.delivered] == ["r"]
    assert desk.entries["r"].requeue


def test_an_open_run_that_only_a_proxy_denies_stays_in_the_journal() -> None:
    """And the agent begins its work all the same."""
    desk, _ = recovered(lambda _: INGRESS)
    assert desk.delivered == []
    assert "r" in desk.entries


def test_an_intent_that_the_server_refuses_for_good_is_closed() -> None:
    """Its task is gone."""
    desk, _ = recovered(
        lambda request: (422, error("no_task")) if request.method == "POST" else (404, error("no_run"))
    )
    assert desk.entries == {}


def test_one_entry_that_cannot_be_recovered_does_not_keep_the_agent_from_its_work() -> None:
    """A server that refuses the look at it, every time."""
    desk, _ = recovered(lambda _: (400, error("bad_id")))
    assert "r" in desk.entries


def test_a_run_that_the_server_gave_another_id_is_ended_by_that_id() -> None:
    """The agent died before it knew the id: it is found by its identity, closed and requeued."""
    shelf = Shelf(gives_ids=True)
    shelf.create(OURS)
    for kind in (ServerKind.IGNORES, ServerKind.UNKNOWN):
        desk, _ = recovered(shelf, kind=kind)
        assert [entry.run_id for entry in desk.delivered] == ["server-0"]
        assert list(desk.entries) == ["server-0"]
        assert desk.entries["server-0"].marks == ("elected",)
        assert all(run["stoppedAt"] for run in shelf.runs.values() if run["id"] != "server-0")


@pytest.mark.parametrize(
    ("others", "is_requeued"),
    [
        ([], True),
        ([{"id": "x", "podId": "pod/b", "stoppedAt": AT, "error": "lost_claim: another was earlier"}], True),
        ([{"id": "x", "podId": "pod/b", "stoppedAt": None}], False),
        ([{"id": "x", "podId": "pod/b", "stoppedAt": AT, "resultCode": "Success"}], False),
    ],
)
def test_a_run_that_was_posted_before_the_kind_of_server_was_known_is_no_tasks_end(
    others: list[dict[str, Any]], is_requeued: bool
) -> None:
    """The agent died between the probe and the election: where nobody else has the task, it goes on."""
    shelf = Shelf(overwrites=True)
    ours = OURS | {"id": claim_run_id("t")}
    for run in [ours, *(OURS | other for other in others)]:
        shelf.create(run)

    def answer(request: Request) -> Answer:  # an ingress denies each single run
        return INGRESS if request.method == "GET" and "runs/" in request.path else shelf(request)

    desk, _ = recovered(answer, kind=ServerKind.OVERWRITES, intent=ours)
    assert [entry.requeue for entry in desk.delivered] == [True] * is_requeued
    assert (shelf.runs[ours["id"]]["stoppedAt"] is None) is is_requeued  # then the delivery stops it


def test_an_election_is_ended_by_a_list_that_shows_what_was_posted_last() -> None:
    """A list that lags does not show the run yet: it would stay live, and win every election."""
    shelf = Shelf(gives_ids=True)
    shelf.create(OURS)
    asked_at: list[float] = []

    def answer(request: Request) -> Answer:
        asked_at.append(VirtualClock().mono())
        return shelf(request)

    recovered(answer, kind=ServerKind.IGNORES)
    assert asked_at[0] >= 1.0


def test_a_run_that_died_is_told_although_the_disk_is_full() -> None:
    """From memory; and the agent does not end over it."""
    desk, _ = recovered(lambda _: (200, OURS), is_disk_full=True)
    assert [entry.terminal is not None for entry in desk.delivered] == [True]


def test_an_intent_whose_answer_gets_lost_again_is_asked_for_until_it_is_known() -> None:
    """Posted, lost, found."""
    shelf = Shelf()
    shelf.instead["POST"] = [(False, LOST), (True, LOST)]
    desk, _ = recovered(shelf)
    assert [entry.run_id for entry in desk.delivered] == ["r"]


def lost_often(times: int, *, tells_task: bool = True, lists: bool = True) -> Desk:
    """Recover a run whose task has lost so many before it."""
    shelf = Shelf()
    for number in range(times):
        shelf.create(
            OURS
            | {"id": f"lost-{number}", "stoppedAt": AT, "error": "worker_lost: x", "resultCode": "Failed"}
        )
    shelf.create(OURS)

    def answer(request: Request) -> Answer:
        if request.path.endswith("tasks/t"):
            found = {"id": "t", "jobId": "j", "type": "noop", "parameters": {"retry": {"maxAttempts": 7}}}
            return (200, found) if tells_task else (404, error("no_task"))
        is_list = request.path.endswith("/runs") and request.method == "GET"
        return (400, error("bad")) if is_list and not lists else shelf(request)

    return recovered(answer)[0]


def test_a_task_that_ends_its_agents_is_not_requeued_for_ever() -> None:
    """The bound of interruptions counts runs that were lost with their agent, too; results tell it."""
    (again,) = lost_often(INTERRUPTIONS_MAX - 2).delivered
    assert again.requeue
    assert again.terminal is not None
    assert again.terminal["results"]["retry"]["afterS"] == 0.0
    assert again.terminal["results"]["retry"]["maxAttempts"] == 7
    (last,) = lost_often(INTERRUPTIONS_MAX - 1).delivered
    assert not last.requeue
    assert last.terminal is not None
    assert last.terminal["resultCode"] == "Failed"
    assert last.terminal["results"]["retry"]["afterS"] is None
    assert "interrupted too often" in last.terminal["results"]["retry"]["reason"]


def test_the_bound_holds_where_the_server_does_not_show_the_task() -> None:
    """Its runs are what counts."""
    (last,) = lost_often(INTERRUPTIONS_MAX - 1, tells_task=False).delivered
    assert not last.requeue


def test_a_lost_run_of_a_task_whose_runs_are_not_listed_is_requeued() -> None:
    """It is not the task's fault that its server does not tell."""
    (entry,) = lost_often(INTERRUPTIONS_MAX + 1, lists=False).delivered
    assert entry.requeue
    assert entry.terminal is not None
    assert "retry" not in entry.terminal["results"]


def test_a_lost_run_is_billed_by_what_was_known_last() -> None:
    """The journal's note or what the server was told, whichever is later; incomplete, and never a guess."""
    noted = Usage(wall_s=9.0, cpu_user_s=4.0, cpu_system_s=1.0, complete=True)
    told = Usage(wall_s=12.0, cpu_user_s=5.0, cpu_system_s=1.5, methods={"cpu_user_s": "cgroup"})
    assert last_bill(noted, None) == structs.replace(noted, complete=False)
    assert last_bill(noted, read_details(told.as_details())) == told
    assert last_bill(told, read_details(noted.as_details())) == told
    nothing = last_bill(None, read_details({"wallSeconds": "many"}))
    assert nothing.as_run_fields() == dict.fromkeys(("wallClockTime", "CPUTime", "GPUTime", "RAMUsage"))
    assert nothing.reasons.keys() >= {"wall_s", "cpu_user_s", "ram_peak_bytes", "gpu_allocated_s"}
