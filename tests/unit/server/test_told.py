"""What the stores tell beside the API's lists: agents, curves, matrices, queues, tokens."""

from __future__ import annotations

import pytest
from msgspec import Raw

from server.store.changes import TaskDeferred
from server.store.commands import AnnounceAgent, CreateToken, NoteTokenUse, UpdateJob
from server.store.queries import TASK_STATES, RunQuery, TaskQuery
from server.store.refusal import Refused
from server.times import to_ms
from tests.unit.server.world import Kind, opened, run_async

pytestmark = pytest.mark.usefixtures("each_store")


def test_what_an_agent_says_replaces_what_it_said_and_silence_is_forgotten() -> None:
    """In its organisation alone, by its id; one that leaves is gone at once."""

    async def scene() -> None:
        async with opened() as world:
            for name, status in (("b", '{"n":1}'), ("a", "{}"), ("b", '{"n":1.10}')):
                await world.store.apply(AnnounceAgent(org_id=world.org_id, id=name, status=status))
            found = await world.store.agents(world.org_id)
            assert [(one.id, bytes(one.status)) for one in found] == [("a", b"{}"), ("b", b'{"n":1.10}')]
            assert await world.store.agents("other") == []
            world.clock.advance(5 * 86_400)
            await world.store.apply(AnnounceAgent(org_id=world.org_id, id="b"))
            world.clock.advance(5 * 86_400)
            await world.store.apply(AnnounceAgent(org_id=world.org_id, id="c"))
            assert [one.id for one in await world.store.agents(world.org_id)] == ["b", "c"]
            await world.store.apply(AnnounceAgent(org_id=world.org_id, id="b", is_gone=True))
            assert [one.id for one in await world.store.agents(world.org_id)] == ["c"]

    run_async(scene)


def test_a_matrix_has_a_letter_for_each_task_in_the_order_of_creation() -> None:
    """Up to as many as are asked for; tasks of the same moment stand by their ids."""

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            assert await world.store.task_states(world.org_id, job.id, 10) == ""
            tasks = {name: await world.task(job, id=name) for name in ("d", "a", "c", "b")}
            world.clock.advance(1)
            await world.task(job, id="0")
            await world.claim(tasks["a"])
            for name, code in (("b", "Success"), ("d", "Failed")):
                await world.put(await world.claim(tasks[name]), stopped_at=9, result_code=code)
            assert await world.store.task_states(world.org_id, job.id, 10) == "rspfp"
            assert await world.store.task_states(world.org_id, job.id, 3) == "rsp"

    run_async(scene)


def test_the_tasks_of_a_state_are_as_many_as_are_counted() -> None:
    """Whatever result a run told, or none, and whatever the state of their job."""

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            waits, runs, won, *lost = [await world.task(job) for _ in range(6)]
            await world.claim(runs)
            await world.put(await world.claim(won), stopped_at=9, result_code="Success")
            for task, told in zip(lost, ({"result_code": "Failed"}, {"result_code": "Odd"}, {}), strict=True):
                await world.put(await world.claim(task), stopped_at=9, **told)
            await world.store.apply(UpdateJob(org_id=world.org_id, id=job.id, scheduler_state="paused"))
            wanted = {"pending": [waits], "running": [runs], "succeeded": [won], "failed": lost}
            assert set(wanted) == set(TASK_STATES)
            for state, tasks in wanted.items():
                query = TaskQuery(org_id=world.org_id, job_ids=(job.id,), state=state)
                assert [one.task.id for one in await world.store.tasks(query)] == [task.id for task in tasks]
            assert await world.counters(job) == (1, 1, 4, 3, 1)

    run_async(scene)


def test_tasks_are_told_with_how_long_they_took() -> None:
    """By their current runs; what runs counts until now; what has not started, or cannot be, has no time."""

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            assert (await world.store.task_times(world.org_id, job.id, 99, 10)).states == ""
            tasks = {}
            for name in ("waits", "long", "runs", "early", "odd"):
                tasks[name] = await world.task(job, id=name)
                world.clock.advance(1)
            await world.put(await world.claim(tasks["long"]), stopped_at=65, result_code="Failed")
            await world.claim(tasks["runs"], started_at=59)
            await world.claim(tasks["early"], started_at=500)
            await world.put(await world.claim(tasks["odd"]), stopped_at=3, result_code="Success")
            found = await world.store.task_times(world.org_id, job.id, 99, 10)
            assert (found.states, found.took_ms) == ("pfrrs", [-1, 60, 40, -1, -1])
            assert (await world.store.task_times(world.org_id, job.id, 99, 2)).took_ms == [-1, 60]
            slowest = await world.store.slowest(world.org_id, job.id, 99, 10)
            assert [(one.id, one.state, one.took_s) for one in slowest] == [
                ("long", "f", 0.06),
                ("runs", "r", 0.04),
            ]
            assert [one.id for one in await world.store.slowest(world.org_id, job.id, 99, 1)] == ["long"]
            assert await world.store.slowest("other", job.id, 99, 1) == []

    run_async(scene)


def test_queues_are_counted_by_type_over_all_organisations() -> None:
    """What may be claimed, when the oldest was made, and what runs; not what is paused."""

    async def scene() -> None:
        async with opened() as world:
            depths = await world.store.depths()
            assert (depths.pending, depths.running) == ((), 0)
            made_at = to_ms(world.clock.now())
            job = await world.job()
            first, *_ = [await world.task(job, type=type_) for type_ in ("x", "a", "a", "b")]
            paused = await world.job()
            await world.task(paused, type="c")
            await world.store.apply(UpdateJob(org_id=world.org_id, id=paused.id, scheduler_state="paused"))
            await world.claim(first)
            depths = await world.store.depths()
            assert {(one.type, one.tasks, one.oldest_at) for one in depths.pending} == {
                ("a", 2, made_at),
                ("b", 1, made_at),
            }
            assert depths.running == 1
            assert all(type(one.tasks) is int for one in depths.pending)

    run_async(scene)


def test_tasks_are_found_by_their_result_and_runs_that_live() -> None:
    """What the dashboard asks for: what failed, and what runs now."""

    async def scene() -> None:
        async with opened() as world:
            job = await world.job()
            tasks = [await world.task(job) for _ in range(4)]
            runs = [await world.claim(task) for task in tasks[:3]]
            await world.put(runs[0], stopped_at=9, result_code="Failed", error="x", results='{"a":1}')
            await world.put(runs[1], stopped_at=9, result_code="Success")
            await world.post(tasks[3])
            failed = await world.store.tasks(TaskQuery(org_id=world.org_id, results=("Failed",)))
            assert [answer.task.id for answer in failed] == [tasks[0].id]
            live = await world.store.runs(RunQuery(org_id=world.org_id, is_live=True))
            assert [answer.run.id for answer in live] == [runs[2].id]
            for has_results, told in ((True, b'{"a":1}'), (False, None)):
                query = RunQuery(org_id=world.org_id, task_ids=(tasks[0].id,), has_results=has_results)
                (answer,) = await world.store.runs(query)
                assert answer.run.results == (None if told is None else Raw(told))
            assert await world.store.runs(RunQuery(org_id="other", is_live=True)) == []

    run_async(scene)


def test_a_token_has_a_name_and_its_last_use_never_goes_back() -> None:
    """Uses that several servers noted come in any order; a token that is gone is passed over."""

    async def scene() -> None:
        async with opened() as world:
            made = await world.store.apply(
                CreateToken(org_id=world.org_id, sha256="5f" * 32, scopes=frozenset({"read"}), name="hosts")
            )
            assert made.name == "hosts"
            assert await world.store.principal("5f" * 32) == made
            for at in (7, 5):
                await world.store.apply(NoteTokenUse(used={made.token_id: at, "gone": at}))
            (row,) = await world.ask("SELECT name, last_used_at FROM tokens")
            assert (row["name"], row["last_used_at"]) == ("hosts", 7)

    run_async(scene)


def test_a_placeholder_with_a_wait_tells_listeners_until_when() -> None:
    """Before they hear that the task is pending again, so that nobody is shown it."""

    async def scene() -> None:
        async with opened() as world:
            task = await world.task(await world.job(), type="a")
            run = await world.claim(task)
            await world.put(run, stopped_at=9, result_code="Failed", error="x")
            world.changes.clear()
            world.clock.advance(1)
            await world.post(task, results='{"retry": {"afterS": 30}}')
            assert world.changes[0] == TaskDeferred(world.org_id, task.id, "a", 30.0)
            assert len(world.changes) == 2

    run_async(scene)


@pytest.mark.parametrize(
    ("change", "back", "is_fine_on_postgres"),
    [
        (
            "INSERT INTO schema_version VALUES (99, 'x', 1)",
            "DELETE FROM schema_version WHERE version = 99",
            True,
        ),
        (
            "UPDATE schema_version SET version = -version WHERE version > 1",
            "UPDATE schema_version SET version = -version WHERE version < 0",
            False,
        ),
    ],
)
def test_a_schema_that_another_program_changed_is_not_written(
    change: str, back: str, is_fine_on_postgres: bool
) -> None:
    """This one does not know what its writes would mean there; on PostgreSQL releases only add to it."""

    async def scene() -> None:
        async with opened() as world:
            await world.store.check_writable()
            await world.ask(f"{change} RETURNING version")
            try:
                if Kind.is_postgres and is_fine_on_postgres:
                    await world.store.check_writable()
                    return
                with pytest.raises(Refused) as refused:
                    await world.store.check_writable()
                assert refused.value.code == "schema_changed"
            finally:
                await world.ask(f"{back} RETURNING version")
            await world.store.check_writable()

    run_async(scene)
