"""`millhand run --reload` as an author meets it: save, look, save again, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Cli, cli, own_home, own_logs
from worker.cli import reloading

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

LIMIT_S = 60.0
MILLHAND = [sys.executable, "-P", "-m", "worker.cli.main"]
OWN = """
import beside
from worker import handler
@handler()
def own(ctx):
    (ctx.workdir / "said.txt").write_text(beside.WORD)
    ctx.artifact("said.txt")
    return {"says": beside.WORD}
"""
ENDLESS = """
import time
from worker import handler
@handler()
def own(ctx):
    open(__file__ + ".started", "w").close()
    while True:
        ctx.check()
        time.sleep(0.01)
"""


FAILING = """
from worker import Fail, handler
@handler()
def own(ctx):
    ctx.checkpoint({"attempt": ctx.attempt})
    raise Fail("as it must")
"""


class Reloading:
    """A `millhand run --reload` in a process of its own; its output goes to files: it has no terminal."""

    def __init__(self, folder: Path, *options: str, code: str = OWN) -> None:
        """Start it."""
        self.path = folder / "own.py"
        self.path.write_text(code)
        (folder / "beside.py").write_text("WORD = 'one'\n")
        self.out, self.err = folder / "out", folder / "err"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MILLHAND_", "XDG_"))
        }
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*MILLHAND, "run", str(self.path), "--reload", "--json", *options],
                env={**kept, "HOME": str(folder)}, stdout=out, stderr=err,
            )  # fmt: skip

    def end(self) -> None:
        """End it now."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def documents(self, count: int) -> list[dict[str, object]]:
        """Return the runs so far once there are so many."""
        return [json.loads(line) for line in self._lines(self.out, count)]

    def _lines(self, path: Path, count: int) -> list[str]:
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            lines = path.read_text().splitlines()
            if len(lines) >= count:
                return lines
            assert self.process.poll() is None, self.err.read_text()
            time.sleep(0.02)
        raise AssertionError(f"fewer than {count} runs: {path.read_text()} {self.err.read_text()}")

    def wait_for_start(self) -> None:
        """Wait until the endless handler says that it runs."""
        started = self.path.with_name("own.py.started")
        until = time.monotonic() + LIMIT_S
        while not started.exists():
            assert time.monotonic() < until, self.err.read_text()
            time.sleep(0.02)
        started.unlink()

    def save(self, name: str, text: str) -> None:
        """Save a file as editors do: a new one in place of the old."""
        part = self.path.with_name(f"{name}.part")
        part.write_text(text)
        part.replace(self.path.with_name(name))


@pytest.fixture
def reloading_run(tmp_path: Path) -> Iterator[Reloading]:
    """One that is ended whatever happens."""
    running = Reloading(tmp_path)
    yield running
    running.end()


def test_each_save_runs_it_again_and_ctrl_c_ends(reloading_run: Reloading) -> None:
    """The handler's file and a module beside it; two saves of one size; what is broken is waited out."""
    assert reloading_run.documents(1)[0]["value"] == {"says": "one"}
    reloading_run.save("beside.py", "WORD = 'two'\n")
    assert reloading_run.documents(2)[1]["value"] == {"says": "two"}
    reloading_run.save("own.py", "def own(:\n")
    broken = reloading_run.documents(3)[2]
    assert broken["resultCode"] == "Failed"
    assert "SyntaxError" in str(broken["error"])
    reloading_run.save("beside.py", "WORD = = 'two'\n")
    reloading_run.documents(4)
    reloading_run.save("own.py", OWN)
    assert "beside.py" in str(reloading_run.documents(5)[4]["error"])
    reloading_run.save("beside.py", "WORD = 'six'\n")
    assert reloading_run.documents(6)[5]["value"] == {"says": "six"}
    reloading_run.process.send_signal(signal.SIGINT)
    assert reloading_run.process.wait(LIMIT_S) == 0


def test_a_save_ends_a_run_that_goes_on(reloading_run: Reloading) -> None:
    """It is asked to stop, and the new code runs; Ctrl-C in a run is 130."""
    reloading_run.documents(1)
    reloading_run.save("own.py", ENDLESS)
    reloading_run.wait_for_start()
    reloading_run.save("own.py", OWN)
    documents = reloading_run.documents(3)
    assert "its file was saved" in str(documents[1]["error"])
    assert documents[2]["value"] == {"says": "one"}
    reloading_run.save("own.py", ENDLESS)
    reloading_run.wait_for_start()
    reloading_run.process.send_signal(signal.SIGINT)
    assert reloading_run.process.wait(LIMIT_S) == 130


def test_artifacts_stay_until_a_run_has_made_its_own(reloading_run: Reloading) -> None:
    """Not while the next run goes on, nor where it makes none; then one run's are kept."""
    folder = Path(str(reloading_run.documents(1)[0]["folder"]))
    reloading_run.save("own.py", ENDLESS)
    reloading_run.wait_for_start()
    assert (folder / "said.txt").read_text() == "one"
    reloading_run.save("own.py", OWN)
    documents = reloading_run.documents(3)
    assert documents[1]["folder"] is None
    reloading_run.process.send_signal(signal.SIGINT)
    reloading_run.process.wait(LIMIT_S)
    assert not folder.exists()
    assert (Path(str(documents[2]["folder"])) / "said.txt").read_text() == "one"


def test_a_reload_resumes_where_there_is_something_to_resume(tmp_path: Path) -> None:
    """The checkpoint of the run before; behind a success it starts anew, and says so."""
    file = tmp_path / "before.json"
    file.write_text('{"attempt": 7, "checkpoint": {}}')
    before = Reloading(tmp_path, f"--resume={file}", code=FAILING)
    before.documents(1)
    before.end()
    running = Reloading(tmp_path, "--resume", code=FAILING)
    try:
        assert running.documents(1)[0]["attempt"] == 9
        running.save("own.py", OWN)
        assert running.documents(2)[1]["attempt"] == 10
        running.save("beside.py", "WORD = 'three'\n")
        anew = running.documents(3)[2]
        assert (anew["attempt"], anew["resumedFrom"], anew["value"]) == (1, None, {"says": "three"})
        assert "it starts anew" in running.err.read_text()
        running.save("own.py", FAILING)
        running.documents(4)
        running.save("beside.py", "WORD = 'five'\n")
        assert running.documents(5)[4]["attempt"] == 2
    finally:
        running.end()


def test_only_a_file_can_be_watched(cli: Cli) -> None:
    """A type is installed, not edited."""
    ran = cli("run", "sleep", "--reload")
    assert (ran.code, "--reload watches a file" in ran.err) == (2, True)


def test_environments_caches_and_hidden_folders_are_not_watched(tmp_path: Path) -> None:
    """And of very many files only a bounded number."""
    for name in ("package", ".git", "__pycache__", "venv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    (tmp_path / "own.py").write_text("")
    (tmp_path / "data.json").write_text("")
    own = tmp_path / "own.py"
    assert set(reloading.look(own)) == {f"{own}", f"{tmp_path}/package/module.py"}
    for number in range(reloading.MAX_FILES):
        (tmp_path / f"many_{number}.py").write_text("")
    assert len(reloading.look(own)) == reloading.MAX_FILES


def test_a_look_at_a_large_tree_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and entries are counted, modules or not; the handler's own file and what is known are seen."""
    own, deep = tmp_path / "own.py", tmp_path / "data_0" / "deep.py"
    for number in range(20):
        (tmp_path / f"data_{number}").mkdir()
        (tmp_path / f"data_{number}" / "deep.py").touch()
    own.touch()
    read: list[str] = []
    scandir = os.scandir

    def noted(folder: str) -> Any:
        read.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", noted)
    monkeypatch.setattr(reloading, "MAX_FOLDERS", 5)
    assert len(reloading.look(own)) == 5  # its own, and those of four folders below
    assert len(read) == 5
    monkeypatch.setattr(reloading, "MAX_ENTRIES", 10)
    assert set(reloading.look(own)) == {str(own)}
    assert len(read) == 6
    assert set(reloading.look(own, [str(deep), str(tmp_path / "gone.py")])) == {str(own), str(deep)}


def test_a_look_does_not_hold_up_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another thread's: the loop that serves the run goes on."""
    (tmp_path / "own.py").touch()
    seen = reloading.look(tmp_path / "own.py")
    begun, has_gone_on = asyncio.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    threads: list[int] = []

    def slow(path: Path, known: Iterable[str] = ()) -> reloading.Stamps:
        threads.append(threading.get_ident())
        loops[0].call_soon_threadsafe(begun.set)
        assert has_gone_on.wait(LIMIT_S)
        return {str(path): (1, 1)}

    async def watch() -> list[str]:
        loops.append(asyncio.get_running_loop())
        waiting = asyncio.create_task(reloading.changed(tmp_path / "own.py", seen))
        await asyncio.wait_for(begun.wait(), LIMIT_S)
        has_gone_on.set()
        return await waiting

    monkeypatch.setattr(reloading, "look", slow)
    assert asyncio.run(watch()) == ["own.py"]
    assert threading.get_ident() not in threads
