"""Whole agents drain in virtual time: within 5 to 120 s, whatever handlers and server do meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from tests.simulation.draining import (
    KILL_S,
    Drained,
    DrainingMachine,
    Mood,
    MoodyNetwork,
    Way,
    drain_one,
    sigterm,
)
from tests.simulation.leases import LeasingServer
from tests.simulation.loop import run_virtual
from tests.simulation.world import World, until
from worker.agent.assemble import Agent

TIMEOUTS_S: Final = (5.0, 15.0, 30.0, 120.0)
ANSWERING: Final = (Mood.WELL, Mood.SLOW, Mood.BACK, Mood.SILENT)
HURRIED_S: Final = 5.0  # what a second SIGTERM leaves
DRAINED: Final = {("Failed", "drained")}


def check_told(seen: Drained, timeout_s: float, way: Way) -> None:
    """See that all is stopped, requeued and told, in time."""
    assert (seen.code, seen.ends()) == (0, DRAINED)
    assert seen.took_s <= timeout_s
    assert seen.is_pending
    assert seen.kept == []
    saved = {"at": 2 if way is Way.CHECKPOINTS else 1}
    assert [run["results"]["checkpoint"] for run in seen.shown] == [saved] * len(seen.world.server.tasks)


@pytest.mark.parametrize("mood", ANSWERING)
@pytest.mark.parametrize("way", [Way.CHECKPOINTS, Way.DEAF])
@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
def test_runs_are_stopped_as_drained_and_requeued_before_the_deadline(
    timeout_s: float, way: Way, mood: Mood
) -> None:
    """Killed or not: the server knows before the agent ends, and another may go on where it stopped."""
    check_told(drain_one(timeout_s, way, mood, slots=8), timeout_s, way)


@pytest.mark.parametrize("mood", [Mood.WELL, Mood.SLOW])
@pytest.mark.parametrize("way", [Way.CHECKPOINTS, Way.DEAF])
@pytest.mark.parametrize("timeout_s", [5.0, 30.0])
def test_the_same_holds_for_one_run_and_with_leases(timeout_s: float, way: Way, mood: Mood) -> None:
    """A server that gives silent runs away gives none away that drains."""
    check_told(drain_one(timeout_s, way, mood, server=LeasingServer), timeout_s, way)


@pytest.mark.parametrize("mood", ANSWERING)
@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
def test_a_run_that_ends_by_itself_in_time_is_a_success(timeout_s: float, mood: Mood) -> None:
    """A drain lets finish what can."""
    seen = drain_one(timeout_s, Way.ENDS, mood, slots=8)
    assert (seen.code, seen.ends(), len(seen.shown)) == (0, {("Success", "")}, 8)
    assert seen.took_s <= timeout_s
    assert seen.kept == []


@pytest.mark.parametrize("way", [Way.ENDS, Way.CHECKPOINTS, Way.DEAF])
@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
def test_without_a_server_the_reports_stay_in_the_journal_and_the_next_start_delivers_them(
    timeout_s: float, way: Way
) -> None:
    """The agent ends in time all the same, with exit code 0; nothing is lost."""
    seen = drain_one(timeout_s, way, Mood.AWAY, slots=8, goes_on=True)
    assert (seen.code, seen.ends()) == (0, {(None, "")})
    assert seen.took_s <= timeout_s
    assert [entry.terminal is not None for entry in seen.kept] == [True] * 8
    assert sorted(seen.world.successes()) == sorted(seen.world.server.tasks)
    ended = {run["id"]: run for run in seen.started()}
    before = [ended[run["id"]] for run in seen.shown]
    kinds = {(run["resultCode"], (run.get("error") or "").partition(":")[0]) for run in before}
    assert kinds == ({("Success", "")} if way is Way.ENDS else DRAINED)


@pytest.mark.parametrize("mood", list(Mood))
@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
def test_no_handler_is_told_of_more_time_than_the_drain_has(timeout_s: float, mood: Mood) -> None:
    """Its deadline leaves room to kill and to report; it is never put off. A slow server brings it near."""
    seen = drain_one(timeout_s, Way.DEAF, mood, slots=4)
    deadline = seen.began_at + timeout_s
    told = seen.machine.executor.kill_at
    assert len(told) >= 4
    assert all(seen.began_at < at <= deadline - KILL_S for at in told)
    assert told == sorted(told, reverse=True)
    if mood is not Mood.SLOW:
        assert min(told) >= seen.began_at + timeout_s * 0.6  # what is kept is not taken from it without need


@pytest.mark.parametrize("mood", ANSWERING)
@pytest.mark.parametrize("way", [Way.CHECKPOINTS, Way.DEAF])
@pytest.mark.parametrize("notice_s", [5.0, 30.0, 120.0])
@pytest.mark.parametrize("timeout_s", [15.0, 600.0])
def test_runs_of_a_machine_that_is_taken_are_given_back_before_it_is_gone(
    timeout_s: float, notice_s: float, way: Way, mood: Mood
) -> None:
    """By the deadline of the cloud, whatever was configured; another agent may go on where they stopped."""
    seen = drain_one(timeout_s, way, mood, slots=8, notice_s=notice_s)
    assert (seen.code, seen.ends()) == (0, {("Failed", "preempted")})
    assert seen.took_s <= notice_s
    assert seen.is_pending
    assert seen.kept == []
    saved = {"at": 2 if way is Way.CHECKPOINTS else 1}
    assert [run["results"]["checkpoint"] for run in seen.shown] == [saved] * 8


@pytest.mark.parametrize("way", [Way.ENDS, Way.CHECKPOINTS, Way.DEAF])
@pytest.mark.parametrize("notice_s", [5.0, 30.0, 120.0])
def test_nothing_is_lost_when_server_and_machine_go_together(notice_s: float, way: Way) -> None:
    """What a disk that comes back holds is delivered by the next start."""
    seen = drain_one(600.0, way, Mood.AWAY, slots=8, notice_s=notice_s, goes_on=True)
    assert (seen.code, seen.took_s <= notice_s) == (0, True)
    assert [entry.terminal is not None for entry in seen.kept] == [True] * 8
    assert sorted(seen.world.successes()) == sorted(seen.world.server.tasks)


@pytest.mark.parametrize("mood", list(Mood))
@pytest.mark.parametrize("at_s", [0.0, 30.0, 100.0])
def test_the_signal_after_a_notice_brings_the_end_nearer_and_does_not_kill_at_once(
    at_s: float, mood: Mood
) -> None:
    """Clouds and Kubernetes send it when they begin to take the machine: the configured time is left then."""

    async def then(agent: Agent, _: Drained) -> None:
        await asyncio.sleep(at_s)
        sigterm(agent)

    seen = drain_one(15.0, Way.DEAF, mood, slots=8, notice_s=120.0, watch=then)
    assert seen.code == 0
    assert at_s + 5.0 < seen.took_s <= at_s + 15.0
    is_there = mood in (Mood.WELL, Mood.SLOW) or (mood is not Mood.AWAY and at_s > 48.0)  # it comes back then
    assert seen.ends() == ({("Failed", "preempted")} if is_there else {(None, "")})
    assert len(seen.kept) == (0 if is_there else 8)


@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
def test_why_a_run_is_stopped_and_its_checkpoint_go_out_at_once(timeout_s: float) -> None:
    """Long before the handler ends; should the agent not live to tell more, that much is known."""
    told: list[dict[str, Any]] = []

    async def look(_: Agent, seen: Drained) -> None:
        await asyncio.sleep(0.5)
        told.extend(seen.started())

    seen = drain_one(timeout_s, Way.DEAF, slots=2, watch=look)
    assert [run["stoppedAt"] for run in told] == [None, None]
    why = {"kind": "drained", "message": "SIGTERM received"}
    assert [run["results"]["stopping"] for run in told] == [why, why]
    assert [run["results"]["checkpoint"] for run in told] == [{"at": 1}, {"at": 1}]
    assert ["stopping" in run["results"] for run in seen.shown] == [False, False]


def test_a_checkpoint_told_in_a_drain_outlives_an_agent_that_is_killed_in_it() -> None:
    """The next life stops the run as lost, with what it told; the next run gets it."""

    async def kill(_: Agent, seen: Drained) -> None:
        await asyncio.sleep(1.0)
        seen.machine.life.is_over.set()  # from here on it reaches nothing any more

    seen = drain_one(30.0, Way.DEAF, watch=kill, goes_on=True)
    [lost] = [run for run in seen.started() if run["resultCode"] == "Failed"]
    assert lost["error"].startswith("worker_lost")
    assert lost["results"]["checkpoint"] == {"at": 1}
    assert seen.resumes == [{"at": 1}]


@pytest.mark.parametrize("mood", [Mood.WELL, Mood.SLOW, Mood.AWAY])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.97])
@pytest.mark.parametrize("way", [Way.ENDS, Way.DEAF])
@pytest.mark.parametrize("timeout_s", [5.0, 120.0])
def test_a_second_sigterm_ends_it_within_seconds_at_any_moment(
    timeout_s: float, way: Way, share: float, mood: Mood
) -> None:
    """What goes on is killed at once, and told where there is time; else it is in the journal."""

    async def again(agent: Agent, _: Drained) -> None:
        await asyncio.sleep(timeout_s * share)
        sigterm(agent)

    seen = drain_one(timeout_s, way, mood, slots=3, watch=again)
    assert seen.code == 0
    assert seen.took_s <= min(timeout_s, timeout_s * share + HURRIED_S)
    assert not seen.world.executing
    kept = {entry.run_id for entry in seen.kept if entry.terminal is not None}
    assert kept >= {run["id"] for run in seen.shown if not run["stoppedAt"]}
    if mood is Mood.WELL or (mood is Mood.SLOW and timeout_s * (1 - share) >= HURRIED_S):
        assert all(run["stoppedAt"] for run in seen.shown)


def test_an_outcome_that_waits_for_the_server_is_tried_again_when_the_drain_begins() -> None:
    """Its waits had grown to a minute; five seconds are left, and the server has just come back."""

    async def main() -> Drained:
        world = World(1, "key", 0.0, 3)
        machine = DrainingMachine(world, "pod/a", concurrency=3, drain_timeout_s=5.0)
        network = machine.network = MoodyNetwork(world.server, world.random)
        seen = Drained(world=world, machine=machine)
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        await until(lambda: len(world.executing) == 3, 60.0)
        network.is_down = True
        await asyncio.sleep(3600.0)
        network.is_down = False
        sigterm(agent)
        seen.code = await life
        return seen

    seen = run_virtual(main())
    assert seen.code == 0
    assert sorted(seen.world.successes()) == sorted(seen.world.server.tasks)
