"""What doctor finds."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from worker.agent.statedir import StateDir
from worker.api.models import Task
from worker.cli.check_gpus import check_gpus
from worker.cli.check_machine import check_state_dir
from worker.cli.check_server import check_clock, check_pending
from worker.cli.check_setup import check_config_file, check_packages, check_token, check_variables
from worker.cli.check_surroundings import check_cloud, check_memory
from worker.config import AgentConfig, ApiConfig
from worker.machine.facts import Fact, Facts, Gpu
from worker.machine.in_cloud import Clouds
from worker.machine.memory_state import MemoryState, Pressure, Room

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def facts_with(**known: Fact) -> Facts:
    """Return facts of a machine of which only these are known."""
    return Facts(**{name: known.get(name, Fact.unknown("a test")) for name in Facts.__struct_fields__})


def pending(type_: str, **requires: object) -> Task:
    """Return a pending task."""
    raw = {"id": type_, "type": type_, "parameters": {"requires": requires} if requires else {}}
    task = Task.read(raw)
    assert task is not None
    return task


def test_a_misspelt_variable_is_found() -> None:
    """Nothing would ever tell otherwise."""
    check = check_variables({"MILLHAND_CONCURENCY": "2", "MILLHAND_TYPES": "a", "HOME": "/"})
    assert check.state == "warn"
    assert "MILLHAND_CONCURRENCY" in check.todo
    assert check_variables({"MILLHAND_TYPES": "a"}).state == "ok"


def test_a_token_that_others_can_read_is_told(tmp_path: Path) -> None:
    """In a file of its own, and in the configuration."""
    path = tmp_path / "token"
    assert check_token(ApiConfig(token_file=path)).state == "fail"
    path.write_text("")
    assert check_token(ApiConfig(token_file=path)).state == "fail"
    path.write_text("t")
    path.chmod(0o644)
    assert check_token(ApiConfig(token_file=path)).state == "warn"
    assert check_config_file(path, ["token"]).state == "warn"
    path.chmod(0o600)
    assert check_token(ApiConfig(token_file=path)).state == "ok"
    assert check_config_file(path, ["token"]).state == check_config_file(None, []).state == "ok"
    assert check_token(ApiConfig()).state == "warn"
    assert check_token(ApiConfig(token="t")).state == "ok"


def test_a_folder_that_hides_our_packages_is_told(tmp_path: Path) -> None:
    """`worker`, `handlers` and `server` are names that others use too."""
    assert check_packages([str(tmp_path)]).state == "ok"
    (tmp_path / "handlers").mkdir()
    (tmp_path / "server.py").touch()
    check = check_packages([str(tmp_path)])
    assert check.state == "warn"
    assert "handlers" in check.said
    assert "server.py" in check.said


def test_the_state_folder_is_looked_at_and_left_as_it_was(tmp_path: Path) -> None:
    """Missing, free, in use: each is told, and nothing is made but the lock."""
    path = tmp_path / "state"
    assert "will be made" in check_state_dir(path).said
    assert not path.exists()
    path.mkdir()
    assert "no agent uses it" in check_state_dir(path).said
    with StateDir.acquire(path):
        assert "an agent uses it now" in check_state_dir(path).said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    """With what to do."""
    tmp_path.chmod(0o500)
    check = check_state_dir(tmp_path)
    assert (check.state, "MILLHAND_STATE_DIR" in check.todo) == ("fail", True)
    assert check_state_dir(tmp_path / "below").state == "fail"
    tmp_path.chmod(0o700)


def test_gpus_are_named_and_unknown_is_not_none() -> None:
    """A driver that does not answer is a warning; no GPU is not."""
    gpu = Gpu(uuid="GPU-1", name="H200", memory_bytes=1024**3)
    assert "H200 (1.0 GiB)" in check_gpus(facts_with(gpus=Fact.measured([gpu], "NVML"))).said
    assert check_gpus(facts_with(gpus=Fact.absent("no driver"))).state == "ok"
    assert check_gpus(facts_with()).state == "warn"


def test_a_cloud_that_told_nothing_is_a_warning_and_none_is_not(tmp_path: Path) -> None:
    """Where nobody is asked, why; where one has told, what."""
    aws = Clouds(tmp_path, "aws", {})
    check = check_cloud(facts_with(zone=Fact.unknown("AWS metadata answered 404 (token)")), aws)
    assert (check.state, check.said) == ("warn", "AWS: AWS metadata answered 404 (token)")
    hashed = facts_with(instanceID=Fact.measured("ab", "/etc/machine-id, hashed"))
    assert check_cloud(hashed, aws).state == "warn"
    told = facts_with(
        instanceID=Fact.measured("i-0", "AWS metadata"), zone=Fact.measured("b", "AWS metadata")
    )
    assert check_cloud(told, aws).said.startswith("AWS metadata: i-0 in b;")
    check = check_cloud(facts_with(), Clouds(tmp_path, "none", {}))
    assert (check.state, check.said) == ("ok", "nobody is asked: MILLHAND_CLOUD is none")


def test_memory_that_is_short_is_a_failure() -> None:
    """Nothing is claimed then; what cannot be read is no fault."""
    config = AgentConfig(state_dir=Path("x"))
    room = Room(8 * 1024**3, 16 * 1024**3, "/proc/meminfo")
    assert check_memory(config, MemoryState(Pressure(0.0, "psi"), (room,))).state == "ok"
    assert check_memory(config, MemoryState(None, ())).state == "ok"
    lacking = Room(200 * 1024**2, 16 * 1024**3, "/proc/meminfo")
    enough = Room(100 * 1024**2, 500 * 1024**2, "memory.max")
    check = check_memory(config, MemoryState(Pressure(50.0, "psi"), (lacking, enough)))
    assert (check.state, "/proc/meminfo" in check.said, "psi" in check.said) == ("fail", True, True)


def test_a_clock_that_is_off_says_which_way() -> None:
    """Within seconds it agrees; a server that tells no time is no fault."""
    assert check_clock(NOW, NOW + timedelta(seconds=5)).state == "ok"
    assert check_clock(None).state == "ok"
    assert "ahead of" in check_clock(NOW, NOW + timedelta(minutes=2)).said
    assert "behind" in check_clock(NOW, NOW - timedelta(minutes=2)).said


def test_tasks_that_this_machine_leaves_are_counted_with_the_reason(tmp_path: Path) -> None:
    """By type, by setting, by what the machine lacks."""
    facts = facts_with(gpus=Fact.absent("no driver"))
    tasks = [pending("known"), pending("strange"), pending("strange"), pending("known", gpus=1)]
    check = check_pending(AgentConfig(state_dir=tmp_path), facts, ["known"], tasks)
    assert check.state == "warn"
    first, *reasons = check.said.splitlines()
    assert first.endswith("leaves 3:")
    assert reasons[0] == f"2 × no handler for type 'strange' (the first is task {tasks[1].id})"
    assert reasons[1].startswith("1 × needs 1 GPU")
    assert reasons[1].endswith(f"(task {tasks[3].id})")
    narrow = AgentConfig(state_dir=tmp_path, types=("other",))
    assert "not among --types" in check_pending(narrow, facts, ["known"], tasks[:1]).said
    assert check_pending(narrow, facts, ["known"], []).state == "ok"
    assert check_pending(AgentConfig(state_dir=tmp_path), facts, ["known"], tasks[:1]).state == "ok"
