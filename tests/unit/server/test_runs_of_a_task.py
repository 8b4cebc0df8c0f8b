"""The rules of runs, as the store keeps them: claims, placeholders, reports, closing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.commands import CreateTask, UpdateJob
from server.store.queries import TaskQuery
from server.store.refusal import Refused
from server.store.rules import JobTotals, RunState, TaskState, job_status, task_state
from tests.unit.server.world import opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


def test_a_claim_makes_the_task_running_and_a_second_one_is_refused() -> None:
    """One task has one live run, whoever asks for another."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            await world.claim(task)
            assert await world.status(task) == "running"
            with pytest.raises(Refused, match="not pending") as refused:
                await world.claim(task, pod_id="other")
            assert refused.value.code == "task_not_pending"
            assert await world.counters(job) == (0, 1, 0, 0, 0)

    run_async(body)


def test_the_same_claim_sent_twice_is_answered_with_the_first_run() -> None:
    """A claim whose answer got lost can be sent again, also after the run has stopped."""

    async def body() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            first = await world.claim(task, "r")
            assert await world.claim(task, "r") == first
            await world.put(first, stopped_at=9, result_code="Success")
            assert (await world.claim(task, "r")).id == "r"
            for other in ({"pod_id": "other"}, {"started_at": 6}):
                with pytest.raises(Refused) as refused:
                    await world.claim(task, "r", **other)
                assert refused.value.code == "run_conflict"

    run_async(body)


def test_a_run_id_of_another_task_is_a_conflict() -> None:
    """An id names one run only, whatever task is asked for."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            await world.claim(await world.task(job), "r")
            with pytest.raises(Refused) as refused:
                await world.claim(await world.task(job), "r")
            assert refused.value.code == "run_conflict"

    run_async(body)


def test_a_placeholder_posted_before_the_stop_requeues_without_a_gap() -> None:
    """While the run is live the task stays running; after its stop it is pending, never stopped."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            live = await world.claim(task)
            placeholder = await world.post(task, "p")
            assert await world.status(task) == "running"
            with pytest.raises(Refused) as refused:
                await world.claim(task, "next")
            assert refused.value.code == "task_not_pending"
            await world.put(live, stopped_at=9, result_code="Failed", error="preempted: bye")
            assert await world.status(task) == "pending"
            assert await world.counters(job) == (1, 0, 0, 0, 0)
            taken = await world.claim(task, "next")
            assert taken.created_at > placeholder.created_at > live.created_at
            closed = await world.store.run(world.org_id, "p")
            assert closed is not None
            assert closed.run.error == "requeued: continued as run next"
            assert closed.run.stopped_at is not None

    run_async(body)


def test_a_report_starts_a_placeholder_as_a_claim_would() -> None:
    """PUT of startedAt obeys the rules of a claim: the youngest placeholder only, nothing live."""

    async def body() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            older, younger = await world.post(task, "older"), await world.post(task, "younger")
            with pytest.raises(Refused, match="younger run younger") as refused:
                await world.put(older, started_at=7)
            assert refused.value.code == "task_not_pending"
            started = await world.put(younger, started_at=7, pod_id="me")
            assert (started.pod_id, await world.status(task)) == ("me", "running")
            await world.put(started, stopped_at=9, result_code="Success")
            answer = await world.store.task(world.org_id, task.id)
            assert answer is not None
            assert (answer.task.run_status, answer.task.run_result) == ("stopped", "Success")

    run_async(body)


def test_who_starts_a_placeholder_owns_it() -> None:
    """The header names the claimer where the documented body has no podId."""

    async def body() -> None:
        async with opened() as world:
            placeholder = await world.post(await world.task(await world.job()), pod_id="who requeued")
            started = await world.put(placeholder, agent="me", started_at=7)
            assert started.pod_id == "me"
            await world.put(started, agent="me", progress=1)
            with pytest.raises(Refused) as refused:
                await world.put(started, agent="who requeued", progress=2)
            assert refused.value.code == "not_your_run"

    run_async(body)


def test_a_task_of_a_paused_job_is_neither_listed_nor_claimed() -> None:
    """A job that is not active starts nothing; set active again, its tasks are told to waiters."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            pending = TaskQuery(org_id=world.org_id, statuses=("pending",))
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="paused"))
            assert await world.store.tasks(pending) == []
            with pytest.raises(Refused, match="is paused, not active") as refused:
                await world.claim(task)
            assert refused.value.code == "job_not_active"
            world.changes.clear()
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="active"))
            assert [answer.task.id for answer in await world.store.tasks(pending)] == [task.id]
            assert len(world.changes) == 1

    run_async(body)


@pytest.mark.parametrize("state", ["cancelled", "canceled", "stopped"])
def test_closing_a_job_stops_its_pending_tasks_and_leaves_live_runs(state: str) -> None:
    """Never run or requeued, a pending task of a closed job is stopped as cancelled at once."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            fresh, live, requeued = [await world.task(job) for _ in range(3)]
            run = await world.claim(live)
            await world.put(await world.claim(requeued), stopped_at=9, result_code="Failed")
            await world.post(requeued, "p")
            changed = await world.store.apply(
                UpdateJob(org_id=world.org_id, id=job.id, scheduler_state=state)
            )
            assert (changed.status, await world.counters(job)) == ("running", (0, 1, 2, 2, 0))
            assert [await world.status(task) for task in (fresh, live, requeued)] == [
                "stopped",
                "running",
                "stopped",
            ]
            closed = await world.store.run(world.org_id, "p")
            assert closed is not None
            assert closed.run.error == f"cancelled: job {job.id} was set to {state}"
            await world.put(run, stopped_at=10, result_code="Failed")
            assert await world.counters(job) == (0, 0, 3, 3, 0)

    run_async(body)


def test_nothing_becomes_pending_in_a_closed_job() -> None:
    """A new task, and a requeue that was under way, end as cancelled in the same transaction."""

    async def body() -> None:
        async with opened() as world:
            job = await world.job()
            task = await world.task(job)
            live = await world.claim(task)
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="cancelled"))
            await world.post(task, "p")
            await world.put(live, stopped_at=9, result_code="Failed")
            assert await world.status(task) == "stopped"
            late = await world.store.apply(CreateTask(org_id=world.org_id, created_by="me", job_id=job.id))
            assert late.task.run_status == "stopped"
            assert await world.counters(job) == (0, 0, 2, 2, 0)

    run_async(body)


def test_a_stopped_run_takes_its_last_report_again_and_nothing_else() -> None:
    """The same terminal report is answered as before; any other change is refused."""

    async def body() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            report: dict[str, Any] = {"stopped_at": 9, "result_code": "Success", "results": '{"a": [1, 2]}'}
            stopped = await world.put(run, **report)
            assert (await world.put(run, **{**report, "results": '{"a":[1,2]}'})).id == stopped.id
            for other in (
                {"progress": 5},
                {**report, "stopped_at": 10},
                {**report, "result_code": "Failed"},
                {**report, "results": "{}"},
                {**report, "error": "crashed"},
            ):
                with pytest.raises(Refused) as refused:
                    await world.put(run, **other)
                assert refused.value.code == "run_stopped"

    run_async(body)


def test_a_report_by_another_agent_or_claim_is_refused() -> None:
    """A run given to somebody else is never overwritten, live or stopped."""

    async def body() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            await world.put(run, agent="pod", started_at=5, progress=1)
            for agent, fields in (("other", {}), ("pod", {"started_at": 6}), (None, {"pod_id": "other"})):
                with pytest.raises(Refused) as refused:
                    await world.put(run, agent=agent, progress=2, **fields)
                assert refused.value.code == "not_your_run"
            await world.put(run, stopped_at=9)
            with pytest.raises(Refused) as refused:
                await world.put(run, agent="other", stopped_at=9)
            assert refused.value.code == "not_your_run"

    run_async(body)


def test_created_at_orders_the_runs_of_a_task_though_the_clock_stands_or_goes_back() -> None:
    """The most recent run is sure, whatever happens to the server's clock."""

    async def body() -> None:
        async with opened() as world:
            task = await world.task(await world.job())
            created = [(await world.post(task)).created_at]
            for step_s in (0, -3600, 0, 0.001):
                world.clock.advance(step_s)
                created.append((await world.post(task)).created_at)
            assert created == sorted(set(created))

    run_async(body)


def test_usage_samples_of_a_run_stay_bounded() -> None:
    """A run that reports for days keeps a bounded number of samples, the newest among them."""

    async def body() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            for second in range(600):
                world.clock.advance(1)
                await world.put(run, cpu_time=second)
            found = await world.ask("SELECT cpu_s FROM usage_samples ORDER BY at")
            assert 100 < len(found) <= 240
            assert found[-1]["cpu_s"] == 599

    run_async(body)


def test_samples_hold_what_results_tell_of_gpus() -> None:
    """Busy seconds and the peak of memory; of another shape nothing, and the report is taken all the same."""
    told: list[tuple[object, tuple[float | None, int | None]]] = [
        ({"gpuBusySeconds": 1.5, "gpuPeakBytes": 2**33}, (1.5, 2**33)),
        ({"gpuBusySeconds": None, "gpuPeakBytes": 7}, (None, 7)),
        ({"gpuBusySeconds": 2}, (2.0, None)),
        ({"gpuPeakBytes": 7}, (None, None)),  # our agents name both
        ({"gpuBusySeconds": -1.0, "gpuPeakBytes": 7}, (None, None)),
        ({"gpuBusySeconds": 1.0, "gpuPeakBytes": 2**63}, (None, None)),
        ({"gpuBusySeconds": "1", "gpuPeakBytes": 7}, (None, None)),
        (["gpuBusySeconds"], (None, None)),
    ]

    async def body() -> None:
        async with opened() as world:
            run = await world.claim(await world.task(await world.job()))
            for second, (usage, _) in enumerate(told):
                world.clock.advance(1)
                await world.put(run, cpu_time=second, results=json.dumps({"usage": usage, "logTail": "x"}))
            found = await world.store.samples(world.org_id, run.id)
            assert [(one.gpu_busy_s, one.gpu_bytes) for one in found] == [expected for _, expected in told]

    run_async(body)


@given(pending=st.integers(0, 3), running=st.integers(0, 3), stopped=st.integers(0, 3))
def test_a_job_is_pending_running_or_stopped_by_its_tasks(pending: int, running: int, stopped: int) -> None:
    """Pending until something started, stopped once everything stopped, else running."""
    status = job_status(JobTotals(pending, running, stopped))
    assert (status == "pending") == (running + stopped == 0)
    assert (status == "stopped") == (stopped > 0 and pending + running == 0)


def test_a_task_shows_its_current_run_and_counts_one_when_stopped() -> None:
    """A stopped task counts as done in its job, whatever progress its run told."""
    run = RunState(id="r", created_at=1, started_at=2, stopped_at=3, result_code=None, progress=5)
    state = task_state(run)
    assert (state.status, state.result, state.progress, state.weight) == ("stopped", None, 5, 1_000_000)
    assert TaskState().weight == 0
