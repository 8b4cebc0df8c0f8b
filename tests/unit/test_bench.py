"""The benchmark's own arithmetic, and that it reads processes truly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.counts import keep, worse
from tests.bench.figure import Figure, percentile
from tests.bench.proc import cpu_of_living_s, cpu_of_tree_s, tree, waits_of_tree
from tests.bench.report import as_table, save


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_percentile_is_a_value_that_was_measured(ratio: float, expected: float) -> None:
    """The nearest rank of one to a hundred is the percentage itself; never an interpolation."""
    assert percentile([float(n) for n in range(100, 0, -1)], ratio) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    """One measurement is its own median and tail."""
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1,234"), (0.01234, "0.0123"), (0.0, "0"), (None, "unknown"), (12.34, "12.3")],
)
def test_figure_shows_three_digits_and_never_zero_for_unknown(value: float | None, shown: str) -> None:
    """Digits that the measurement does not support are left out, and what is unknown says so."""
    assert Figure(name="x", value=value, unit="s").shown() == shown


def test_saved_section_goes_on_top_and_older_ones_stay(tmp_path: Path) -> None:
    """Two savings leave two sections, the newer one first, and one title."""
    page = tmp_path / "benchmarks.md"
    for value in (1.0, 2.0):
        save("bench", "a machine", "SQLite", [Figure(name="throughput", value=value, unit="tasks/s")], page)
    text = page.read_text()
    assert text.count("# Benchmarks") == 1
    assert 0 < text.index("2.00 tasks/s") < text.index("1.00 tasks/s")
    assert "throughput" in as_table([Figure(name="throughput", value=1.0, unit="tasks/s")])


def test_tree_counts_a_grandchild_and_its_cpu() -> None:
    """A grandchild that burns CPU and still lives is in the tree, and its seconds are in the sum."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"
    middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", middle], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        assert len(tree(child.pid)) == 2
        assert cpu_of_tree_s(child.pid) >= 0.3
        assert (living_s := cpu_of_living_s(child.pid)) is None or living_s >= 0.3
        assert child.pid in tree(os.getpid())
        child.communicate("\n", timeout=30)


def test_counts_that_grew_by_more_than_a_tenth_are_told(tmp_path: Path) -> None:
    """What is new, what is less, and what grew by chance is not; each line names both figures."""
    path = tmp_path / "guard.json"
    names = ("requests", "syncs", "calls", "gone")
    keep([Figure(name=name, value=2.0, unit="") for name in names], path)
    measured = [
        Figure(name="requests", value=2.5, unit=""),
        Figure(name="syncs", value=2.1, unit=""),
        Figure(name="calls", value=1.0, unit=""),
        Figure(name="new", value=99.0, unit=""),
        Figure(name="gone", value=None, unit=""),
    ]
    lines = worse(measured, path)
    assert len(lines) == 1
    assert "requests" in lines[0]
    assert "2.50" in lines[0]
    assert "2.00" in lines[0]
    assert worse(measured, tmp_path / "none.json") == []


def test_waits_of_a_process_that_sleeps_are_counted() -> None:
    """Each sleep is one; a process that does nothing has none."""
    sleeps = "import time\nfor _ in range(50): time.sleep(0.001)\nprint('done', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", sleeps], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        assert waits_of_tree(child.pid) >= 50
        child.communicate("\n")
