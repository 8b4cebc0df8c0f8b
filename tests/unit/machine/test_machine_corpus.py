"""A corpus of recorded machines: what each must say of its limits, and where groups of runs would go.

`corpus/*.txt` each hold one machine: what it is, what is expected (TOML), then the kernel's files as it shows
them. They are written by hand in the kernel's formats, after real ones.
"""

from __future__ import annotations

import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.unit.machine.recorded import record
from worker.machine.cpu import cpu_facts
from worker.machine.facts import Fact
from worker.machine.memory import memory_facts
from worker.minder.groups import find_places
from worker.minder.pool import PoolMemory

CORPUS: Final = sorted((Path(__file__).parent / "corpus").glob("*.txt"))
WANTED: Final = {"v2-container-private", "v2-pod-host-namespace", "v2-service-in-slice", "hybrid-microvm",
                 "v1-docker-path-not-there", "gke-pod", "eks-pod-v1", "v1-unlimited"}  # fmt: skip
by_name = pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)


def recorded(path: Path, root: Path) -> dict[str, Any]:
    """Write a machine's files below `root`; return what is expected of it."""
    expected, *parts = path.read_text().split("\n=== ")
    files = dict(part.split("\n", 1) for part in parts)
    record(root, {name: text.rstrip("\n") + "\n" for name, text in files.items()})
    return tomllib.loads(expected)


def is_as_expected(fact: Fact, expected: dict[str, Any]) -> bool:
    """Tell whether a fact is what the corpus says; of a reason only a part is given."""
    return (
        fact.state == expected["state"]
        and fact.value == expected.get("value")
        and fact.source == expected.get("source", "")
        and expected.get("reason", "") in fact.reason
    )


@by_name
def test_limits_are_what_the_machine_has(path: Path, tmp_path: Path) -> None:
    """Value, state and source of limitCPUs and limitRAM."""
    expected = recorded(path, tmp_path)
    cpus, memory = expected["cpus"], expected["memory"]
    facts = cpu_facts(tmp_path, affinity=cpus, logical=cpus) | memory_facts(tmp_path, total_bytes=memory)
    for name in ("limitCPUs", "limitRAM"):
        assert is_as_expected(facts[name], expected[name]), facts[name]


@by_name
def test_groups_of_runs_would_go_into_the_own_group(path: Path, tmp_path: Path) -> None:
    """In each hierarchy that holds memory, processes, or the kill of v2."""
    expected = recorded(path, tmp_path)
    places, reasons = find_places(str(tmp_path))
    found = [
        {
            "version": version,
            "folder": folders[0].removeprefix(str(tmp_path)),
            "controllers": sorted(controllers),
        }
        for version, folders, controllers in places
    ]
    assert found == expected["places"]
    assert found or reasons


@by_name
def test_the_memory_that_all_runs_share_is_that_of_the_tightest_limit(path: Path, tmp_path: Path) -> None:
    """Used and limit, by which the minder guards; none where there is no limit."""
    expected = recorded(path, tmp_path)
    pool = expected.get("pool")
    with closing(PoolMemory.open(str(tmp_path))) as memory:
        assert memory.read() == (None if pool is None else (pool["used"], pool["limit"]))


def test_the_kinds_of_machines_that_matter_are_there() -> None:
    """An empty corpus would pass every test above."""
    assert {path.stem for path in CORPUS} >= WANTED
