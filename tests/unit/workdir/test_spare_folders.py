"""Folders that go from run to run as they were made, and those that must not."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.workdir.scenes import assigned, made, run, there
from tests.unit.workdir.test_kept_workdirs import FAILED, keeping
from worker.executor import workdir
from worker.executor.spare_folders import Made
from worker.executor.workdir import Workdirs

SHARED = Path("/dev/shm")


def test_the_next_run_gets_a_folder_that_was_left_as_it_was_made(tmp_path: Path) -> None:
    """Under its own name, empty; nothing is at the old one."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        first = made(workdirs, "run-1")
        inode = first.stat().st_ino
        await workdirs.leave(str(first), assigned("run-1"), None, is_clean=True)
        second = made(workdirs, "run-2")
        assert second.stat().st_ino == inode
        assert there(tmp_path / "runs") == ["run-2"]
        await workdirs.leave(str(second), assigned("run-2"), None, is_clean=True)
        await workdirs.aclose()
        assert there(tmp_path / "runs") == []

    run(scenario())


def opened_to_all(folder: Path) -> None:
    """Change a mode."""
    folder.chmod(0o777)


def used_and_cleaned(folder: Path) -> None:
    """Leave nothing but the time of a change, which some kernels count in steps of milliseconds."""
    before_ns = folder.stat().st_ctime_ns
    while folder.stat().st_ctime_ns == before_ns:
        (folder / "file").touch()
        (folder / "file").unlink()


def left_a_file(folder: Path) -> None:
    """Leave something."""
    (folder / "file").touch()


def put_another_there(folder: Path) -> None:
    """Replace the folder itself."""
    folder.rename(folder.with_name("moved"))
    folder.mkdir(mode=0o700)


CHANGES = (opened_to_all, used_and_cleaned, left_a_file, put_another_there)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_late", [False, True])
def test_a_folder_that_was_changed_is_no_other_runs(
    tmp_path: Path, change: Callable[[Path], None], is_late: bool
) -> None:
    """Neither what the run itself changed in it, nor what somebody changed after it had ended."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        first = made(workdirs, "run-1")
        if not is_late:
            change(first)
        await workdirs.leave(str(first), assigned("run-1"), None, is_clean=True)
        assert first.exists() is is_late
        if is_late:
            change(first)
        second = made(workdirs, "run-2")
        assert there(second) == []
        assert second.stat().st_mode & 0o777 == 0o700
        assert not is_late or "run-1" in there(tmp_path / "runs")
        await workdirs.leave(str(second), assigned("run-2"), None, is_clean=True)
        await workdirs.aclose()
        assert [name for name in there(tmp_path / "runs") if name != "moved"] == []

    run(scenario())


@pytest.fixture
def coarse_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything happen within one step of the kernel's clock."""
    real = Made.seen
    monkeypatch.setattr(Made, "seen", lambda path: real(path)._replace(changed_ns=0))


@pytest.mark.usefixtures("coarse_clock")
def test_a_folder_is_looked_into_where_the_clock_tells_nothing(tmp_path: Path) -> None:
    """Of what happens within one step of it."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        first = workdirs.make("run-1")
        left_a_file(Path(first))
        await workdirs.leave(first, assigned("run-1"), None, is_clean=True)
        assert there(made(workdirs, "run-2")) == []
        await workdirs.aclose()
        assert there(tmp_path / "runs") == ["run-2"]

    run(scenario())


@pytest.mark.usefixtures("coarse_clock")
def test_a_failed_run_that_left_nothing_behind_has_its_folder_kept_all_the_same(tmp_path: Path) -> None:
    """Where that is wanted: a folder that is for people is never taken for one that nobody changed."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        keeping(workdirs, tmp_path / "kept")
        folder = workdirs.make("run-1")
        left_a_file(Path(folder))
        await workdirs.leave(folder, assigned("run-1"), FAILED, is_clean=True)
        await workdirs.aclose()
        assert there(tmp_path / "kept" / "run-1") == ["file"]

    run(scenario())


def test_a_folder_of_a_run_that_left_something_behind_is_no_other_runs(tmp_path: Path) -> None:
    """Who knows what still holds it."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        await workdirs.leave(workdirs.make("run-1"), assigned("run-1"), None)
        assert there(tmp_path / "runs") == []
        await workdirs.aclose()

    run(scenario())


def test_what_stands_in_the_place_of_a_folder_is_kept_out_of_it(tmp_path: Path) -> None:
    """Also where an empty one is there to be renamed."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        await workdirs.leave(workdirs.make("run-1"), assigned("run-1"), None, is_clean=True)
        (tmp_path / "runs" / "run-2").mkdir()
        (tmp_path / "runs" / "run-2" / "old").touch()
        assert there(made(workdirs, "run-2")) == []
        await workdirs.aclose()
        assert not (tmp_path / "runs" / "run-1").exists()

    run(scenario())


def test_a_folder_that_is_found_unfit_is_not_made_again_before_it_is_gone(tmp_path: Path) -> None:
    """It is about to be removed, with whatever a run of that name would have put there."""

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        first = workdirs.make("run-1")
        await workdirs.leave(first, assigned("run-1"), None, is_clean=True)
        left_a_file(Path(first))  # by who was no process of the run
        second, again = made(workdirs, "run-2"), made(workdirs, "run-1")
        left_a_file(again)
        await workdirs.aclose()  # which waits for what is not empty, too
        assert there(again) == ["file"]
        assert there(tmp_path / "runs") == sorted((again.name, second.name))

    run(scenario())


def test_a_folder_that_was_taken_meanwhile_goes_a_moment_after_its_second_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too young when the first moment is over: that is no reason to forget it."""
    monkeypatch.setattr(workdir, "SPARE_S", 0.1)

    async def scenario() -> None:
        workdirs = Workdirs(tmp_path / "runs")
        await workdirs.leave(workdirs.make("run-1"), assigned("run-1"), None, is_clean=True)
        second = workdirs.make("run-2")
        await asyncio.sleep(0.05)  # a run that takes so long
        await workdirs.leave(second, assigned("run-2"), None, is_clean=True)
        async with asyncio.timeout(10.0):
            while there(tmp_path / "runs"):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
        await workdirs.aclose()

    run(scenario())


@pytest.fixture(params=["disk", "tmpfs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk, or in memory where the system has that."""
    if request.param == "disk":
        yield tmp_path
        return
    if not SHARED.is_dir() or " /dev/shm tmpfs " not in Path("/proc/mounts").read_text():
        pytest.skip("no tmpfs at /dev/shm")
    with TemporaryDirectory(dir=SHARED) as folder:
        yield Path(folder)


def linked(source: Path, folder: Path) -> None:
    """Leave a hard link."""
    os.link(source, folder / "left")


def moved_in(source: Path, folder: Path) -> None:
    """Leave what was made elsewhere."""
    made_elsewhere = source.with_name(folder.name + ".new")
    made_elsewhere.touch()
    made_elsewhere.rename(folder / "left")


def cleared_and_linked(source: Path, folder: Path) -> None:
    """Make and remove, and leave a hard link."""
    linked(source, folder)
    (folder / "left").unlink()
    (folder / "inner").mkdir()
    (folder / "inner").rmdir()
    linked(source, folder)


@pytest.mark.parametrize("leave", [linked, moved_in, cleared_and_linked])
def test_no_run_begins_with_what_another_one_left(root: Path, leave: Callable[[Path, Path], None]) -> None:
    """Also where the file system does not show in the folder's time what was done in it: tmpfs and links."""
    source = root / "source"
    source.touch()

    async def scenario() -> None:
        workdirs = Workdirs(root / "runs")
        for number in range(200):
            folder = workdirs.make(f"run-{number}")
            assert there(Path(folder)) == []
            leave(source, Path(folder))
            await workdirs.leave(folder, assigned(f"run-{number}"), None, is_clean=True)
        await workdirs.aclose()
        assert there(root / "runs") == []

    run(scenario())
