"""The benchmark's own arithmetic, and that it reads processes truly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.bench.figure import Figure, percentile
from tests.bench.proc import cpu_of_living_s, cpu_of_tree_s, tree, waits_of_tree
from tests.bench.report import as_json, as_summary, as_table, save
from tests.bench.world import environment


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


def test_saved_section_goes_on_top_of_the_others_and_all_else_stays(tmp_path: Path) -> None:
    """Two savings leave two sections, the newer one first, below what the page begins with."""
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\nHow to read them.\n\n## Older\n\nWords.\n")
    for value in (1.0, 2.0):
        save("bench", "a machine", "SQLite", [Figure(name="throughput", value=value, unit="tasks/s")], page)
    text = page.read_text()
    assert text.startswith("# Benchmarks\n\nHow to read them.\n\n## 2")
    assert 0 < text.index("2.00 tasks/s") < text.index("1.00 tasks/s") < text.index("## Older\n\nWords.\n")
    assert "throughput" in as_table([Figure(name="throughput", value=1.0, unit="tasks/s")])


def test_summary_says_of_each_figure_whether_its_target_is_met() -> None:
    """A floor and a ceiling, one without a target, one that was not measured; the rest stands elsewhere."""
    figures = [
        Figure(name="throughput, 8 slots", value=999.0, unit="tasks/s"),
        Figure(name="idle CPU, agent", value=0.1, unit="%"),
        Figure(name="  its warm child", value=None, unit="MiB"),
        Figure(name="millhand --help", value=0.1, unit="s"),
        Figure(name="filter of output", value=1.0, unit="MB/s"),
    ]
    lines = as_summary(figures).splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["MET", "–", "met", "–"]
    assert "≥ 1,000" in lines[0]
    assert "NOT MET" in lines[0]
    assert not any("filter" in line for line in lines)


def test_json_says_what_the_table_says() -> None:
    """Programs get each figure with its target, the names of the summary, and what is worse."""
    figures = [Figure(name="idle CPU, agent", value=0.2, unit="%", note="over 61 s")]
    told = msgspec.json.decode(as_json("a machine", "synced", figures, ["requests: 9"]))
    assert told["figures"] == [
        {"name": "idle CPU, agent", "value": 0.2, "unit": "%", "target": "≤ 0.1", "isMet": False}
        | {"note": "over 61 s"}
    ]
    assert told["summary"] == ["idle CPU, agent"]
    assert told["worse"] == ["requests: 9"]
    assert told["durability"] == "synced"


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


def test_programs_may_keep_what_they_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the start of an agent would be told as three times what it takes where one is installed."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("MILLHAND_TOKEN", "of somebody else")
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert environment()["LANG"] == "C.UTF-8"
    assert not environment().keys() & {"PYTHONDONTWRITEBYTECODE", "MILLHAND_TOKEN"}


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
