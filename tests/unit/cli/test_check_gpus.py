"""What `millhand doctor` says of GPUs that are there and not well."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.nvml import GIB, FakeNvml, gpu
from tests.unit.placement.machines import A100, L4, machine
from worker.agent.gpus.quarantine_file import QuarantineFile
from worker.cli.check_gpus import check_gpu_health, check_quarantine
from worker.executor.environment import TREE_MARK


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """Build the stand-in once."""
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def of_an_agent() -> Iterator[int]:
    """Give the pid of a process that carries the mark of an agent's run."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=os.environ | {TREE_MARK: "agent/child"}
    )
    yield process.pid
    process.communicate()


def said(fake: FakeNvml, state: str, *, is_shared: bool = False) -> list[str]:
    """Return what is said of two GPUs in a state."""
    fake.put(state)
    facts = machine(L4, A100)
    checks = asyncio.run(check_gpu_health(facts, fake.environment_here(), is_shared=is_shared))
    assert all(check.state == "warn" and check.todo for check in checks)
    return [f"{check.name}: {check.said}" for check in checks]


def test_gpus_that_are_well_need_no_words(fake: FakeNvml, of_an_agent: int) -> None:
    """Nor do runs of an agent that works just now."""
    assert said(fake, gpu(0, f"proc {of_an_agent} {20 * GIB}") + gpu(1)) == []


def test_each_gpu_that_no_run_would_be_given_is_named_with_the_reason(fake: FakeNvml, tmp_path: Path) -> None:
    """A stranger on the one, and the other lost."""
    state = gpu(0, f"proc {os.getpid()} 1000") + gpu(1) + "gpu 1 error 15\n"
    process = f"GPU GPU-1: process {os.getpid()}, which is not of this agent, computes on it"
    assert said(fake, state) == [process, "GPU GPU-2: NVML does not list it any more"]
    assert said(fake, state, is_shared=True) == ["GPU GPU-2: NVML does not list it any more"]


def test_a_quarantine_is_told_while_its_agent_has_it(tmp_path: Path) -> None:
    """How long it goes on; not, when it is over or nobody can read of it."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert check_quarantine(tmp_path, now) == []
    kept = QuarantineFile(tmp_path)
    kept.keep({})
    assert not (tmp_path / "gpus.json").exists()
    kept.keep({"GPU-1": now + timedelta(seconds=90), "GPU-2": now - timedelta(seconds=1)})
    one, two = check_quarantine(tmp_path, now)
    assert (one.name, one.said) == ("GPU GPU-1", "in quarantine for 90 s more")
    assert two.said == "was in quarantine, and is to be tried"
    kept.keep({})
    assert check_quarantine(tmp_path, now) == []
    (tmp_path / "gpus.json").write_text("[1")
    assert check_quarantine(tmp_path, now) == []


def test_an_nvml_that_does_not_answer_is_said(fake: FakeNvml) -> None:
    """And a machine without GPUs is not asked."""
    assert "Driver Not Loaded" in said(fake, "init_error 9\n")[0]
    assert asyncio.run(check_gpu_health(machine(), {}, is_shared=False)) == []
