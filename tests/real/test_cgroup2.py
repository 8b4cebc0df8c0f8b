"""Control groups of cgroup v2, for real: an emulated machine boots a kernel that has nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.real.archive import needed_files, write_archive
from tests.real.engine import EATER, HERE, MILLHAND, missing

ROOT: Final = HERE.parents[1]
SUITE: Final = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "--assert=plain",
    "tests/unit/groups/test_groups_real.py",
    "tests/unit/groups/test_cpu_group.py",
    "tests/unit/usage/test_usage_burners.py::test_memory_of_a_known_size",
]
EAT: Final = [*MILLHAND, "run", EATER, "--json"]  # slowly enough: the machine is emulated
NOBODY: Final = 1000
LIMIT_S: Final = 500.0  # a bound for a hang: it takes one to two minutes
ORDERS: Final[list[dict[str, Any]]] = [
    {"name": "service", "argv": SUITE, "user": NOBODY},
    {
        "name": "session",
        "argv": ["/bin/sh", "-c", '"$@"; :', "sh", sys.executable, f"{HERE}/session.py"],
        "is_delegated": False,
    },
    {"name": "run", "argv": [*EAT, "--memory", "64MiB"]},
    {
        "name": "pod",  # as Kubernetes ≥ 1.28 makes it: who fills it loses everything in it
        # An emulated guard looks seldom where others need the cores: the last MiBs take three seconds.
        "argv": [*EAT, "-p", "at_once_mib=96", "-p", "pause_s=0.25"],
        "user": NOBODY,
        "is_delegated": False,
        "limits": {"memory.max": str(256 << 20), "memory.oom.group": "1"},
    },
    {
        "name": "facts",
        "argv": [sys.executable, f"{HERE}/patient_facts.py"],
        "user": NOBODY,
        "limits": {"memory.max": str(512 << 20), "cpu.max": "75000 100000"},
    },
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Boot the machine once with all orders; give what each of them said."""
    if os.geteuid() != 0:
        missing("the archive of the machine's root is made by root")
    archive = tmp_path_factory.mktemp("machine") / "root.cpio"
    environment = {"MILLHAND_REAL_PARTS": "required"}
    orders = [{"cwd": str(ROOT), "env": environment, **order} for order in ORDERS]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    init = f"#!{sys.executable}\n".encode() + (HERE / "machine_init.py").read_bytes()
    with archive.open("wb") as out:
        programs = {"/init": init, "/orders.json": json.dumps(orders).encode()}
        write_archive(out, needed_files(ROOT, [*project["dependencies"], "millhand", "pytest"]), programs)
    output = console_of(archive)
    archive.unlink()
    lines = [line.removeprefix("ANSWER ") for line in output.splitlines() if line.startswith("ANSWER ")]
    if not lines:
        missing(f"the machine did not boot: {output[-4000:]}")
    return {answer["name"]: answer for answer in map(json.loads, lines)}


def console_of(archive: Path) -> str:
    """Boot, and return all that is printed until the machine is off; it goes off with this process."""
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [str(HERE / "boot.sh"), str(archive)],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    return done.stdout


def said(answers: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the JSON that an order printed at last."""
    assert name in answers, answers.get("init", list(answers))
    output = answers[name]["output"].strip()
    assert output.startswith("{") or "\n{" in output, output
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def test_groups_hold_in_a_delegated_group(answers: dict[str, dict[str, Any]]) -> None:
    """The tests of real groups, as a user to whom the group of his service was delegated."""
    answer = answers.get("service", answers.get("init", {}))
    assert answer["code"] == 0, answer["output"]
    assert "skipped" not in answer["output"]


def test_a_unified_hierarchy_tells_its_limits(answers: dict[str, dict[str, Any]]) -> None:
    """Three quarters of a core and 512 MiB, with the files that say so."""
    facts = said(answers, "facts")
    assert facts["limitCPUs"]["value"] == 0.75, facts
    assert "cpu.max" in facts["limitCPUs"]["source"], facts
    assert facts["limitRAM"]["value"] == 512 << 20, facts
    assert "memory.max" in facts["limitRAM"]["source"], facts


def test_strangers_stay_where_they_are(answers: dict[str, dict[str, Any]]) -> None:
    """In a shared group nobody is moved and no limit is set, but a run can still be killed at once."""
    answer = said(answers, "session")
    assert "has processes of others" in answer["reason"]
    assert answer["controllers"] == []
    assert answer["own"] == "0::/session"
    assert (answer["is_killed"], answer["signal"]) == (True, 9)


def test_a_run_has_a_limit_of_its_own(answers: dict[str, dict[str, Any]]) -> None:
    """`millhand run` in a delegated group: the run's own limit ends it."""
    answer = said(answers, "run")
    assert answer["error"]["kind"] == "out_of_memory", answer
    assert "64 MiB" in answer["error"]["message"]


def test_a_run_is_billed_by_its_group(answers: dict[str, dict[str, Any]]) -> None:
    """CPU and memory are what v2 counts, though the run was killed in the end."""
    usage = said(answers, "run")["usage"]
    assert usage["methods"]["cpu_user_s"] == "cgroup", usage
    assert "cgroup_sampled" in usage["methods"]["ram_average_bytes"], usage
    assert usage["cpuUserSeconds"] + usage["cpuSystemSeconds"] > 0


def test_a_pod_that_dies_as_a_whole_is_saved_by_the_guard(answers: dict[str, dict[str, Any]]) -> None:
    """Nothing may be written, and the kernel would kill the agent too: the run is ended before."""
    answer = said(answers, "pod")
    assert answer["error"]["kind"] == "out_of_memory", answer
    assert "the container's memory (256 MiB) was nearly used up" in answer["error"]["message"]
