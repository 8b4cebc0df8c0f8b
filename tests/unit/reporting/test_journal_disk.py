"""The journal on real files: killed agents, full and hanging disks, one agent per directory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.reporting.samples import REPORT, SMALL, entry
from worker.agent.statedir import StateDir, StateDirBusy
from worker.reporting.disk import DiskIO
from worker.reporting.journal import EntryTooLarge, Journal, JournalError, JournalFull, Limits
from worker.reporting.records import Entry
from worker.reporting.segments import recover

LIMIT_S = 30.0
ROUNDS = 6  # kills

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.unit.reporting.samples import REPORT, SMALL, entry
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal

async def work(journal, slot, round_number):
    number = 0
    while True:
        run_id = f"run-{round_number}-{slot}-{number}"
        await journal.intent(entry(run_id))
        await journal.terminal(run_id, REPORT)
        print("ended", run_id, flush=True)
        if number % 10 != 0:
            print("closing", run_id, flush=True)
            await journal.close_entry(run_id)
        number += 1

async def main():
    journal = await Journal.open(DiskIO(Path(sys.argv[1])), limits=SMALL)
    async with asyncio.TaskGroup() as group:
        for slot in range(8):
            group.create_task(work(journal, slot, sys.argv[2]))

asyncio.run(main())
"""

FILLER = """
import asyncio, errno, os, sys
from pathlib import Path
from tests.unit.reporting.samples import REPORT, entry
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal, JournalFull, Limits
from worker.reporting.segments import recover

async def main(folder):
    limits = Limits(segment_bytes=1 << 20)
    journal = await Journal.open(DiskIO(folder), limits=limits)
    accepted = []
    for number in range(1000):
        try:
            await journal.intent(entry(f"run-{number}"))
        except JournalFull as exc:
            print("refused:", exc)
            break
        accepted.append(f"run-{number}")
    try:
        with open(folder / "filler", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError as exc:
        assert exc.errno == errno.ENOSPC
    for run_id in accepted:
        await journal.terminal(run_id, REPORT | {"results": "x" * 250_000})
    assert journal.is_healthy
    await journal.aclose()
    entries = (await recover(DiskIO(folder))).entries
    assert set(entries) == set(accepted) and all(e.terminal for e in entries.values())
    print("delivered to disk:", len(accepted))
    sys.stdout.flush()
    os._exit(0)  # the mount goes with this process

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_killed_agent_loses_no_report_whose_call_returned(tmp_path: Path) -> None:
    """SIGKILL in the middle of the work, again and again over one folder."""
    ended: set[str] = set()
    closing: set[str] = set()
    for round_number in range(ROUNDS):
        killed_after = 40 + 37 * round_number
        lines = run_and_kill([sys.executable, "-c", WRITER, str(tmp_path), str(round_number)], killed_after)
        ended |= {run_id for word, run_id in lines if word == "ended"}
        closing |= {run_id for word, run_id in lines if word == "closing"}
        entries = asyncio.run(recovered(tmp_path))
        assert ended - closing <= {run_id for run_id, e in entries.items() if e.terminal == REPORT}
    assert len(ended - closing) >= ROUNDS


def run_and_kill(command: list[str], after_lines: int) -> list[tuple[str, str]]:
    """Start a program, kill it after so many lines, return all whole lines as word and run id."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        watchdog = threading.Timer(LIMIT_S, child.kill)
        watchdog.start()
        try:
            lines = [child.stdout.readline() for _ in range(after_lines)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.read().splitlines(keepends=True)
        finally:
            watchdog.cancel()
    assert child.returncode == -signal.SIGKILL
    return [
        (word, run_id) for word, _, run_id in (s.strip().partition(" ") for s in lines if s.endswith("\n"))
    ]


async def recovered(folder: Path) -> dict[str, Entry]:
    """Return what is open in a folder."""
    io = DiskIO(folder)
    try:
        return dict((await recover(io)).entries)
    finally:
        await io.aclose()


def test_a_full_disk_refuses_claims_and_takes_every_report(tmp_path: Path) -> None:
    """On a real file system of 4 MiB, filled to the last block by somebody else."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    script = 'mount -t tmpfs -o size=4m journal "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FILLER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare(1)")
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "No space left" in done.stdout
    assert int(done.stdout.rpartition(":")[2]) >= 5


def test_files_are_for_their_owner_only_and_reads_do_not_create_segments(tmp_path: Path) -> None:
    """A journal may hold parameters and results of others."""
    folder = tmp_path / "state" / "journal"

    async def scenario() -> None:
        journal = await Journal.open(DiskIO(folder), limits=SMALL)
        await journal.intent(entry())
        await journal.terminal("run-1", REPORT)
        await journal.aclose()
        assert (await recovered(folder)) == {"run-1": entry(terminal=REPORT)}

    asyncio.run(scenario())
    assert [path.name for path in folder.iterdir()] == ["00000001.seg"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "00000001.seg").stat().st_mode & 0o777 == 0o600


def test_the_event_loop_goes_on_while_the_disk_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that takes its time holds the caller, not the loop."""
    release = threading.Event()

    async def scenario() -> None:
        journal = await Journal.open(DiskIO(tmp_path), limits=SMALL)
        await journal.intent(entry())
        # A disk that is slow on demand: no real one is.
        monkeypatch.setattr(os, "fdatasync", lambda file: release.wait(LIMIT_S))
        report = asyncio.create_task(journal.terminal("run-1", REPORT))
        done, _ = await asyncio.wait([report], timeout=0.05)
        assert not done
        release.set()
        await asyncio.wait_for(report, LIMIT_S)
        await journal.aclose()

    asyncio.run(scenario())


def test_room_is_reserved_on_disk_with_the_intent(tmp_path: Path) -> None:
    """The blocks are allocated, not just the size."""

    async def scenario() -> None:
        journal = await Journal.open(DiskIO(tmp_path), limits=Limits())
        await journal.intent(entry("run-1"))
        await journal.intent(entry("run-2"))
        await journal.aclose()

    asyncio.run(scenario())
    status = (tmp_path / "00000001.seg").stat()
    assert status.st_blocks * 512 >= 2 * Limits().reserve_bytes


def test_a_folder_that_cannot_be_read_is_an_error_at_once(tmp_path: Path) -> None:
    """An agent that cannot know what is open must not start."""
    (tmp_path / "journal").write_text("not a folder")

    async def scenario() -> None:
        io = DiskIO(tmp_path / "journal")
        try:
            with pytest.raises(OSError, match="journal"):
                await Journal.open(io)
        finally:
            await io.aclose()

    asyncio.run(scenario())


def test_one_agent_per_state_directory(tmp_path: Path) -> None:
    """The second is told who has it; once the first is gone, however, it may start."""
    code = (
        "import sys; from pathlib import Path; from worker.agent.statedir import StateDir;"
        "d = StateDir.acquire(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    folder = tmp_path / "state"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(StateDirBusy, match=rf"{folder}.*pid {other.pid}"):
            StateDir.acquire(folder)
        other.kill()
        other.wait(LIMIT_S)
    with StateDir.acquire(folder) as held:
        assert held.path == folder
        with pytest.raises(StateDirBusy, match=str(os.getpid())):
            StateDir.acquire(folder)
    StateDir.acquire(folder).release()


def test_every_error_of_the_journal_is_a_journal_error() -> None:
    """Callers that only care that the disk refused catch one class."""
    assert issubclass(JournalFull, JournalError)
    assert issubclass(EntryTooLarge, JournalError)
