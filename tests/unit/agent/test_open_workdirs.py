"""The folders of runs, as the settings say."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from worker.agent.workdirs import open_workdirs
from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.config import AgentConfig
from worker.executor.assignment import Assignment
from worker.executor.outcome import RunError


def failed_run(state: Path, run_id: str, **settings: Any) -> list[str]:
    """Let a run fail under some settings; return what is kept afterwards."""
    config = AgentConfig(state_dir=state, **settings)

    async def scenario() -> None:
        async with asyncio.timeout(30.0):
            workdirs = await open_workdirs(config, SystemClock(), None)
            workdir = Path(workdirs.make(run_id))
            (workdir / "file").write_text("x")
            assert (workdirs.watch(str(workdir)) is not None) == (config.workdir_bytes is not None)
            error = RunError(kind=ErrorKind.HANDLER_ERROR, message="it broke")
            await workdirs.leave(str(workdir), Assignment(run_id=run_id, task_id="t", type="noop"), error)
            await workdirs.aclose()

    asyncio.run(scenario())
    assert list((state / "runs").iterdir()) == []
    return sorted(path.name for path in state.glob("kept/*"))


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, []),
        ({"keep_workdirs": "failed"}, ["run-1", "run-1.json"]),
        ({"keep_workdirs": "failed", "keep_workdirs_bytes": 0}, []),
        ({"keep_workdirs": "failed", "keep_workdirs_age_s": 0.0}, []),
        ({"workdir_bytes": 10**9}, []),
    ],
)
def test_settings_decide_what_is_kept(tmp_path: Path, settings: dict[str, Any], kept: list[str]) -> None:
    """By default nothing; with bounds of age and size."""
    assert failed_run(tmp_path, "run-1", **settings) == kept


def test_what_was_kept_grows_old_also_where_nothing_is_kept_any_more(tmp_path: Path) -> None:
    """A changed setting must not leave old folders for ever; fresh ones stay their time."""
    assert failed_run(tmp_path, "run-1", keep_workdirs="failed") == ["run-1", "run-1.json"]
    assert failed_run(tmp_path, "run-2") == ["run-1", "run-1.json"]
    assert failed_run(tmp_path, "run-3", keep_workdirs_age_s=0.0) == []


def test_what_an_earlier_life_left_goes_beside_the_first_runs(tmp_path: Path) -> None:
    """The start does not wait for millions of files."""
    (tmp_path / "runs" / "run-0" / "deep").mkdir(parents=True)
    (tmp_path / "runs" / "run-0.out").mkdir()
    assert failed_run(tmp_path, "run-1") == []
