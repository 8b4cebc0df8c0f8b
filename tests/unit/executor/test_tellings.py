"""What a run tells on its way: progress, lines, files, checkpoints; all of it bounded."""

from pathlib import Path

import pytest

from tests.unit.executor.bench import bench, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor import child_task
from worker.executor.executor import LogEvent, ProgressEvent, StopRequest, UsageEvent
from worker.executor.limits import Limits


def test_everything_a_handler_tells_arrives(tmp_path: Path) -> None:
    """Progress, also the last held-back value; log; both outputs; unfinished lines; the checkpoint."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("tell")
            progress = [event for event in it.events if isinstance(event, ProgressEvent)]
            assert progress[0] == ProgressEvent(0.25, "a quarter")
            assert progress[-1] == ProgressEvent(0.75, "the last")
            lines = {
                (event.stream, event.line, event.level) for event in it.events if isinstance(event, LogEvent)
            }
            assert lines == {
                ("log", "logged count=3", "warning"),
                ("stdout", "printed", "info"),
                ("stdout", "raw without an end", "info"),
                ("stderr", "complained", "info"),
            }
            assert outcome.checkpoint == {"at": 7}
            assert set(outcome.log_tail.splitlines()) == {line for _, line, _ in lines}

    within_limit(scenario())


def test_output_belongs_to_the_run_that_printed_it(tmp_path: Path) -> None:
    """A run after another on the same child starts with an empty tail."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            first, second = await it.run("tell"), await it.run("tell")
            assert sorted(first.log_tail.splitlines()) == sorted(second.log_tail.splitlines())
            assert len(it.spawner.pids) == 1

    within_limit(scenario())


def test_a_flood_of_output_is_bounded(tmp_path: Path) -> None:
    """Fifty megabytes are drained, few lines are kept, and the very last one is among them."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("flood", size_bytes=50_000_000)
            assert outcome.code is ResultCode.SUCCESS
            assert len(outcome.log_tail) <= 8 * 1024
            assert outcome.log_tail.rstrip().endswith("the very last line")
            assert "dropped" in outcome.log_tail
            assert len(it.events) < 50_000  # of two and a half million lines

    within_limit(scenario())


def test_a_flood_of_log_lines_is_bounded_and_counted(tmp_path: Path) -> None:
    """What the child drops it tells."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("log-flood", lines=20_000)
            assert "were too many and dropped" in outcome.log_tail
            assert len(it.events) < 20_000

    within_limit(scenario())


def test_a_thread_that_was_left_behind_tells_nothing_for_the_next_run(tmp_path: Path) -> None:
    """What is told after the end is nobody's."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            await it.run("thread-tells-later", is_first=True)
            it.events.clear()
            await it.run("thread-tells-later", is_first=False)
            assert [event for event in it.events if not isinstance(event, UsageEvent)] == []
            assert len(it.spawner.pids) == 1

    within_limit(scenario())


def test_usage_is_told_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent reports what a run consumed so far."""
    monkeypatch.setattr(child_task, "USAGE_INTERVAL_S", 0.02)  # the wait is the constant's, not the test's

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            stop, told = StopRequest(), []

            def on_event(event: object) -> None:
                if isinstance(event, UsageEvent):
                    told.append(event.usage)
                    stop.request(ErrorKind.DRAINED, "enough", 20)

            outcome = await it.run("polite", stop=stop, on_event=on_event)
            assert told[0].cpu_s is not None
            assert not told[0].complete
            assert outcome.usage.complete

    within_limit(scenario())


def test_the_deadline_counts_down_the_nearer_limit(tmp_path: Path) -> None:
    """A handler plans with what it has."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            assert 500 < (await it.run("limited")).value["left_s"] <= 600
        async with bench(tmp_path, limits=Limits(timeout_s=60)) as it:
            assert 0 < (await it.run("limited")).value["left_s"] <= 60

    within_limit(scenario())


def test_a_listener_that_raises_does_not_end_the_run(tmp_path: Path) -> None:
    """How a run ends is decided by the run."""

    def broken(_event: object) -> None:
        raise RuntimeError("listener is broken")

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            assert (await it.run("tell", on_event=broken)).code is ResultCode.SUCCESS

    within_limit(scenario())


def test_the_files_of_a_run_are_in_the_spool_when_its_outcome_is_there(tmp_path: Path) -> None:
    """With digest and type; nothing of the run's folder is left."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            (file,) = (await it.run("make-file", text="hello", name="deep/out.stl")).files
            assert (tmp_path / "spool" / file.path).read_text() == "hello"
            assert (file.name, file.size_bytes, file.content_type) == ("deep/out.stl", 5, "model/stl")
            assert file.sha256.startswith("2cf24dba")
            assert it.is_tidy

    within_limit(scenario())


def test_a_file_that_cannot_be_kept_fails_the_run_and_says_which(tmp_path: Path) -> None:
    """A success without its files would be a lie; the value is kept, and it may be tried again."""
    (tmp_path / "spool").write_text("in the way")

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("make-file", name="out.stl")
            assert outcome.code is ResultCode.FAILED
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.INTERNAL
            assert outcome.error.retryable
            assert "spool" in outcome.error.message
            assert outcome.value == {"made": 1}

    within_limit(scenario())
