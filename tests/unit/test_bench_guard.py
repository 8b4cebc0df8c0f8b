"""What the benchmark says of counts that grew: loudly, with an exit code, and never by chance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from tests.bench.__main__ import IS_WORSE, read_arguments, tell
from tests.bench.figure import Figure
from tests.bench.guard import GUARD, Committed, Spread, keep, python, spreads, worse
from tests.bench.world import Meter, running_server


def counts(**values: float | None) -> list[Figure]:
    """Return figures of one task."""
    return [
        Figure(name=name.replace("_", " "), value=value, unit="", note="a task, 9 noop tasks")
        for name, value in values.items()
    ]


def kept(path: Path, *runs: Sequence[Figure]) -> Path:
    """Keep what is steady in some runs."""
    keep(spreads(runs), path)
    return path


def test_counts_that_grew_by_more_than_a_tenth_are_told(tmp_path: Path) -> None:
    """What is new, what is less, and what grew by chance is not; the line names both figures."""
    known = counts(requests=2.0, syncs=2.0, calls=2.0, gone=2.0)
    path = kept(tmp_path / "guard.json", known, known)
    lines = worse(counts(requests=2.5, syncs=2.1, calls=1.0, new=99.0, gone=None), path)
    assert len(lines) == 1
    assert "requests" in lines[0]
    assert "2.50" in lines[0]
    assert "2.00" in lines[0]
    assert worse(counts(requests=9.0), tmp_path / "none.json") == []


def test_what_is_worse_is_told_loudly_and_by_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands between bars on stderr, and whoever only looks at the exit code sees it, too."""
    known = counts(requests=2.0)
    path = kept(tmp_path / "guard.json", known, known)
    assert tell(counts(requests=2.5), "SQLite", path) == IS_WORSE
    told = capsys.readouterr()
    assert told.out == ""
    bar, title, line, end = told.err.splitlines()
    assert bar == end == "!" * 78
    assert "WORSE" in title
    assert "requests" in line


@pytest.mark.parametrize(("load", "is_told"), [(2.0, False), (4.0, True)])
def test_a_busy_machine_is_told_beside_what_is_worse(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    load: float,
    is_told: bool,
) -> None:
    """There, runs last long enough to be reported and noted while they go on, which counts too."""
    cpus = len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "getloadavg", lambda: (load * cpus, 0.0, 0.0))  # the machine's own is what it is
    known = counts(requests=2.0)
    path = kept(tmp_path / "guard.json", known, known)
    assert tell(counts(requests=2.5), "SQLite", path) == IS_WORSE
    assert (f"a load of {load * cpus:.0f} on {cpus} CPUs" in capsys.readouterr().err) is is_told


def test_what_is_not_worse_is_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, and the exit code is 0; also on the other store, of which nothing is kept."""
    known = counts(requests=2.0)
    path = kept(tmp_path / "guard.json", known, known)
    assert tell(counts(requests=2.1), "SQLite", path) == 0
    assert tell(counts(requests=9.0), "PostgreSQL", path) == 0
    assert capsys.readouterr().err == ""


def test_only_what_hardly_differs_between_runs_is_kept(tmp_path: Path) -> None:
    """What differs by as much as would be told is no use; the median of the rest stands in the file."""
    runs = [counts(steady=value, chance=value * factor) for value, factor in ((100, 1), (102, 1.2), (101, 1))]
    path = kept(tmp_path / "guard.json", *runs)
    assert msgspec.json.decode(path.read_bytes(), type=Committed).counts == {"steady": 101.0}
    assert "not kept" in Spread("chance", (100.0, 122.4)).shown()
    assert not Spread("once", (100.0,)).is_kept


def test_calls_of_functions_are_compared_on_the_same_python_only(tmp_path: Path) -> None:
    """Another version calls others; requests are the same on each."""
    path = tmp_path / "guard.json"
    both = {"calls of functions in the agent": 100.0, "requests": 2.0}
    measured = [Figure(name=name, value=value * 2, unit="") for name, value in both.items()]
    for version, told in ((python(), 2), ("2.7", 1)):
        path.write_bytes(msgspec.json.encode(Committed(version, both)))
        assert len(worse(measured, path)) == told


def test_what_is_committed_can_be_read_and_says_nothing_of_seconds() -> None:
    """Seconds of one machine are nothing to compare another's with."""
    committed = msgspec.json.decode(GUARD.read_bytes(), type=Committed)
    assert committed.counts
    assert not [name for name in committed.counts if "CPU" in name or "tasks a second" in name]


def test_calls_of_a_program_are_counted_while_it_runs(tmp_path: Path) -> None:
    """A request takes some hundreds of them; a server that nobody asks has next to none."""
    with running_server(tmp_path, meter=Meter()) as (server, caller):
        caller.create_job("noop")
        readings = [server.calls() for _ in range(9)]
        idle = min(later - earlier for earlier, later in pairwise(readings))  # now and then it looks around
        caller.create_job("noop")
        assert server.calls() - readings[-1] > 100 > idle


@pytest.mark.parametrize("arguments", [["--keep"], ["--only", "guard", "--keep"]])
def test_counts_of_one_run_are_never_kept(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One run shows no spread."""
    with pytest.raises(SystemExit):
        read_arguments(arguments)
    assert "--times" in capsys.readouterr().err
