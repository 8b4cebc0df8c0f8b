"""What becomes of the folders of runs in real children."""

from pathlib import Path
from typing import Any

from tests.unit.executor.bench import bench, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.clock import SystemClock
from worker.executor.assignment import Assignment
from worker.executor.executor import StopRequest
from worker.executor.kept import Keeping, KeptWorkdirs
from worker.executor.workdir import Workdirs

HANDLERS = Path(__file__).with_name("folder_handlers.py")
LIMIT_BYTES = 5_000_000


def limited(tmp_path: Path) -> dict[str, Any]:
    """Return options of an executor whose runs' folders are limited."""
    return {"handlers": HANDLERS, "workdirs": Workdirs(tmp_path / "runs", limit_bytes=LIMIT_BYTES)}


def test_a_run_that_fills_its_folder_is_stopped_and_told_why(tmp_path: Path) -> None:
    """The handler is told; its error says how much there is, and how much there may be."""

    async def scenario() -> None:
        async with bench(tmp_path, **limited(tmp_path)) as made:
            outcome = await made.run("fills", heeds=True)
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.HANDLER_ERROR
            assert "MB, more than its limit of 5 MB" in outcome.error.message
            assert outcome.error.message.startswith("the run's folder holds ")
            assert not outcome.error.retryable
            assert made.is_tidy

    within_limit(scenario())


def test_a_run_that_fills_its_folder_and_does_not_listen_is_interrupted(tmp_path: Path) -> None:
    """With the usual grace, then by force; the reason stays the same."""

    async def scenario() -> None:
        async with bench(tmp_path, **limited(tmp_path)) as made:
            outcome = await made.run("fills", heeds=False)
            assert outcome.error is not None
            assert outcome.error.message.startswith("the run's folder holds ")
            assert made.is_tidy

    within_limit(scenario())


def test_a_run_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    """And so is the next one in the same child."""

    async def scenario() -> None:
        async with bench(tmp_path, **limited(tmp_path)) as made:
            for _ in range(2):
                assert (await made.run("writes")).code is ResultCode.SUCCESS
            assert len(made.spawner.pids) == 1
            assert made.is_tidy

    within_limit(scenario())


def test_runs_that_leave_their_folder_as_it_was_have_one_after_the_other(tmp_path: Path) -> None:
    """Each by its own name."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as made:
            tasks = [Assignment(run_id=f"run-{number}", task_id="t", type="looks") for number in range(3)]
            ran = [await made.executor.execute(one, StopRequest(), lambda _: None) for one in tasks]
        names, inodes, contents = zip(*(outcome.value["value"] for outcome in ran), strict=True)
        assert names == ("run-0", "run-1", "run-2")
        assert len(set(inodes)) == 1
        assert contents == ([], [], [])
        assert made.is_tidy

    within_limit(scenario())


def test_a_folder_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    """Also where the child still stands in the midst of it."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as made:
            assert (await made.run("nests")).code is ResultCode.SUCCESS
            assert (await made.run("writes")).code is ResultCode.SUCCESS
        assert made.is_tidy

    within_limit(scenario())


def test_the_folders_of_failed_runs_are_kept_where_that_is_wanted(tmp_path: Path) -> None:
    """Locked ones too; those of good runs go."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping = Keeping(age_s=3600.0, size_bytes=10**9)
        workdirs.keep_failed(KeptWorkdirs(tmp_path / "kept", keeping, workdirs.clearing, SystemClock()))
        async with bench(tmp_path, handlers=HANDLERS, workdirs=workdirs) as made:
            await made.run("breaks")
            await made.run("breaks", locks=True)
            await made.run("writes")
            assert made.is_tidy

    within_limit(scenario())
    (tmp_path / "kept" / "run-2").chmod(0o700)
    causes = sorted(tmp_path.glob("kept/*/cause.txt"))
    assert [cause.read_text() for cause in causes] == ["look at me"] * 2
    notes = sorted(path.name for path in tmp_path.glob("kept/*.json"))
    assert notes == ["run-1.json", "run-2.json"]


def test_a_killed_run_is_kept_without_its_secrets(tmp_path: Path) -> None:
    """Nobody in it could remove them any more."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping = Keeping(age_s=3600.0, size_bytes=10**9)
        workdirs.keep_failed(KeptWorkdirs(tmp_path / "kept", keeping, workdirs.clearing, SystemClock()))
        async with bench(tmp_path, handlers=HANDLERS, workdirs=workdirs) as made:
            outcome = await made.run("dies")
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.CRASHED

    within_limit(scenario())
    assert sorted(path.name for path in tmp_path.glob("kept/run-1/*")) == ["cause.txt"]
    assert list(tmp_path.rglob("key")) == []
