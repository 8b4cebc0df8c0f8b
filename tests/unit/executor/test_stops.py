"""Stops and limits, with real children that react, are deaf, or finish first."""

from pathlib import Path

import pytest

from tests.unit.executor.bench import bench, is_running, stop_at_progress, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor import steering
from worker.executor.executor import LogEvent, ProgressEvent, StopRequest
from worker.executor.limits import Limits


def test_a_result_that_comes_after_the_stop_and_before_the_kill_counts(tmp_path: Path) -> None:
    """A handler that finishes within the grace has succeeded; it knew why and by when."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()
            ask = lambda: stop.request(ErrorKind.DRAINED, "the agent stops", 20)  # noqa: E731
            outcome = await stop_at_progress(it, "polite", stop, ask)
            assert outcome.code is ResultCode.SUCCESS
            assert outcome.value["reason"] == "drained"
            assert 0 < outcome.value["left_s"] <= 20

    within_limit(scenario())


@pytest.mark.parametrize("kind", [ErrorKind.CANCELLED, ErrorKind.DRAINED])
@pytest.mark.parametrize("type_", ["blocked", "async-wait", "async-blocked"])
def test_a_stopped_handler_ends_as_it_was_stopped(tmp_path: Path, type_: str, kind: ErrorKind) -> None:
    """A sleeping sync handler is woken by SIGTERM, an async one is cancelled, a blocked loop is woken too."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()
            ask = lambda: stop.request(kind, "it is told why", 4)  # noqa: E731
            error = (await stop_at_progress(it, type_, stop, ask)).error
            assert error is not None
            assert (error.kind, error.message) == (kind, "it is told why")
            assert error.retryable == (kind is ErrorKind.DRAINED)
            if type_ == "async-wait":
                assert "cleaned up" in [event.line for event in it.events if isinstance(event, LogEvent)]

    within_limit(scenario())


def test_a_deaf_handler_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    """SIGTERM is ignored; SIGKILL is not, and the run says so."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()
            ask = lambda: stop.request(ErrorKind.PREEMPTED, "the machine is taken away", 0.4)  # noqa: E731
            error = (await stop_at_progress(it, "deaf", stop, ask)).error
            assert error is not None
            assert (error.kind, error.signal, error.retryable) == (ErrorKind.PREEMPTED, "SIGKILL", True)
            assert "was killed" in error.message
            assert not any(is_running(pid) for pid in it.spawner.pids)

    within_limit(scenario())


def test_a_nearer_deadline_replaces_a_later_one(tmp_path: Path) -> None:
    """A second request that means now ends the run now; the first reason stays."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()

            def ask() -> None:
                stop.request(ErrorKind.DRAINED, "the agent stops", 600)
                stop.request(ErrorKind.CANCELLED, "now", 0)

            error = (await stop_at_progress(it, "deaf", stop, ask)).error
            assert error is not None
            assert error.kind is ErrorKind.DRAINED

    within_limit(scenario())


def test_a_stop_without_grace_kills_the_whole_tree(tmp_path: Path) -> None:
    """A lost claim gives no time, neither to the handler nor to what it started."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()
            ask = lambda: stop.request(ErrorKind.LOST_CLAIM, "another run won", 0)  # noqa: E731
            error = (await stop_at_progress(it, "spawn-strays", stop, ask, then="hang")).error
            assert error is not None
            assert error.kind is ErrorKind.LOST_CLAIM
            told = [event.message or "" for event in it.events if isinstance(event, ProgressEvent)]
            assert len(told[0].split()) == 4
            assert not any(is_running(int(pid)) for pid in told[0].split())

    within_limit(scenario())


def test_a_stop_before_the_start_is_obeyed(tmp_path: Path) -> None:
    """A request that came while the run was prepared counts."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()
            stop.request(ErrorKind.CANCELLED, "too late", 0)
            error = (await it.run("deaf", stop=stop)).error
            assert error is not None
            assert error.kind is ErrorKind.CANCELLED

    within_limit(scenario())


def test_a_stopped_child_is_not_used_again(tmp_path: Path) -> None:
    """An interrupted library may be in any state."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop = StopRequest()
            ask = lambda: stop.request(ErrorKind.DRAINED, "the agent stops", 20)  # noqa: E731
            await stop_at_progress(it, "polite", stop, ask)
            assert not any(is_running(pid) for pid in it.spawner.pids)

    within_limit(scenario())


def test_the_wall_limit_holds_against_a_deaf_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code that looks at nothing ends as `timeout`."""
    monkeypatch.setattr(steering, "LIMIT_GRACE_S", 0.2)  # the wait is the constant's, not the test's

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            error = (await it.run("slow")).error
            assert error is not None
            assert (error.kind, error.signal) == (ErrorKind.TIMEOUT, "SIGKILL")
            assert "longer than 0.3 s" in error.message

    within_limit(scenario())


def test_silence_longer_than_allowed_ends_the_run(tmp_path: Path) -> None:
    """`no_progress_s` of the handler is held from outside; the handler may clean up."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            error = (await it.run("silent")).error
            assert error is not None
            assert (error.kind, error.retryable) == (ErrorKind.NO_PROGRESS, True)

    within_limit(scenario())


def test_the_agents_own_limit_holds_for_all(tmp_path: Path) -> None:
    """A handler without a limit has the agent-wide one."""

    async def scenario() -> None:
        async with bench(tmp_path, limits=Limits(timeout_s=0.3)) as it:
            assert (await it.run("polite")).value["reason"] == "timeout"

    within_limit(scenario())


def test_an_import_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import of a handler has a limit of its own."""
    monkeypatch.setattr(steering, "LIMIT_GRACE_S", 0.0)  # an import cannot be told anything
    path = tmp_path / "hanging.py"
    path.write_text("import time\ntime.sleep(600)\n")

    async def scenario() -> None:
        async with bench(tmp_path, handlers=path, load_timeout_s=0.5) as it:
            error = (await it.run("anything")).error
            assert error is not None
            assert error.kind is ErrorKind.TIMEOUT
            assert "importing" in error.message

    within_limit(scenario())
