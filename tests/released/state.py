"""The runs of every state directory here, and how one is left: python -m tests.released.state FOLDER.

Once for each release whose journal has a new form, with that release's own code; the files are not written
again afterwards. `state-466d7af` is of the commit that first had a journal, `state-0.1.0` of the release.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from pathlib import Path
from typing import Any, Final

from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal
from worker.reporting.records import Entry
from worker.usage.usage import Usage

__all__ = ["AGENT_ID", "ENDED", "FENCED", "FILED", "FILE_TEXT", "GOING", "POD", "RESULTS", "STARTED"]

POD: Final = "pod-1"
AGENT_ID: Final = "5b0c6a52-6b6a-4a76-9d3e-0d5b8f6a1c11"
ENDED, FENCED, GOING, FILED = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1234")
STARTED: Final = "2026-01-02T03:04:05.678Z"
RESULTS: Final = {"value": 42, "text": "ä"}
REPORT: Final[dict[str, Any]] = {
    "stoppedAt": "2026-01-02T03:05:06.000Z", "resultCode": "Success", "progress": 1, "results": RESULTS,
}  # fmt: skip
FILE_TEXT: Final = "made before the upgrade\n"


def entry(run_id: str) -> Entry:
    """Return an entry as an agent makes it before a claim."""
    return Entry(
        run_id=run_id,
        task_id=f"task-{run_id[0]}",
        job_id="job-1",
        pod_id=f"{POD}/{AGENT_ID}",
        started_at=STARTED,
        intent={
            "id": run_id,
            "taskId": f"task-{run_id[0]}",
            "startedAt": STARTED,
            "podId": f"{POD}/{AGENT_ID}",
        },
    )


async def leave(state: Path) -> None:
    """Leave outcomes that were not delivered, one that a person must look at, and a run that was going."""
    journal = await Journal.open(DiskIO(state / "journal"))
    for run_id in (ENDED, FENCED, GOING):
        await journal.intent(entry(run_id))
    await journal.terminal(ENDED, REPORT)
    await journal.terminal(FENCED, REPORT)
    await journal.mark(FENCED, "fenced")
    journal.checkpoint(GOING, Usage(wall_s=12.5, cpu_user_s=3.25))
    if hasattr(journal, "ended"):  # since files are stored
        await leave_file(state, journal)
    await journal.aclose()


async def leave_file(state: Path, journal: Journal) -> None:
    """Leave a run whose file is not stored yet."""
    from worker.storage.file import MadeFile
    from worker.storage.spool import Spool

    made = state / "made.txt"
    made.write_text(FILE_TEXT)
    await journal.intent(entry(FILED))
    files = await Spool(state / "spool", 1 << 20).take(FILED, [MadeFile(path=made, name="made.txt")], state)
    await journal.ended(FILED, REPORT, files)


def main(state: Path) -> None:
    """Write one, without the room that a journal reserves at its end."""
    state.mkdir(parents=True)
    asyncio.run(leave(state))
    for segment in (state / "journal").iterdir():
        segment.write_bytes(segment.read_bytes().rstrip(b"\0"))
    sys.stdout.write(f"written by {inspect.getfile(Journal)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
