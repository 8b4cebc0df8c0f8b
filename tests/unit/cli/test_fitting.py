"""Tables on screens of every width."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console
from rich.table import Table

from worker.api.models import Job
from worker.cli.fitting import fit, needed_width
from worker.cli.terminal import Output
from worker.cli.view import jobs_table, table

ID = "4bd52287-0f1a-4617-8f0e-dc6b8949edd9"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def jobs(title: str = "mesh-convert torus-knot.glb") -> Table:
    """Return a table of one job."""
    job = Job.read({
        "id": ID, "title": title, "schedulerState": "active", "status": "running",
        "taskCount": 240, "taskStatusStopped": 17, "taskProgress": 0.07, "createdAt": "2026-01-01T23:59:00Z",
    })  # fmt: skip
    assert job is not None
    return jobs_table([job], NOW)


def drawn(made: Table, width: int) -> str:
    """Return what a screen of this width shows."""
    console = Console(file=io.StringIO(), width=width)
    for part in fit(made, width):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_nothing_of_a_job_is_lost_at_any_width(width: int) -> None:
    """Its id can be copied in one piece; every value is there, and no word is broken."""
    shown = drawn(jobs(), width)
    assert ID in shown
    words = shown.split()
    for word in ("torus-knot.glb", "active", "running", "17/240", "7", "1", "min"):
        assert word in words or f"{word}," in words
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width


def test_a_wide_screen_shows_a_row_a_line() -> None:
    """Header, line, row."""
    assert len(drawn(jobs(), 160).splitlines()) == 3


def test_a_narrow_screen_shows_an_entry_with_names() -> None:
    """What is not known is left out there."""
    lines = drawn(jobs(), 80).splitlines()
    assert lines[0].rstrip() == ID
    assert lines[1].startswith(
        "  title mesh-convert torus-knot.glb, state active, status running, done 17/240"
    )
    assert "failed" not in drawn(jobs(), 80)


def test_a_long_cell_is_folded_and_short_ones_are_not() -> None:
    """The error of one task does not break the names of all."""
    made = table("task", "result", "output")
    made.add_row("torus-knot.glb → stl", "Success", "x " * 60)
    assert "torus-knot.glb → stl" in drawn(made, 60)
    assert needed_width(made) == len("torus-knot.glb → stl") + 3 + len("Success") + 3 + 16


def test_columns_without_a_name_lead_the_entry() -> None:
    """The state of a check stands before its name."""
    made = table("", "check", "what was found")
    made.add_row("fail", "server", "does not answer")
    assert drawn(made, 10).splitlines()[0].rstrip() == "fail"
    assert drawn(made, 25).splitlines()[0].rstrip() == "fail server"


def test_a_file_gets_each_row_on_a_line_without_spaces_at_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file has no width, and `grep` sees a whole row."""
    monkeypatch.delenv("COLUMNS", raising=False)
    Output(is_json=False, is_terminal=False, has_color=False).table(jobs("a render of frames"))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert all(line == line.rstrip() for line in out.splitlines())
