"""What doctor says of the disks."""

from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage

import msgspec

from worker.cli.check_disk import check_disk
from worker.config import AgentConfig
from worker.executor.kept import KeptNote


def test_room_is_told_for_each_disk(tmp_path: Path) -> None:
    """The state folder's, and the store's where it is a folder; both may not be made yet."""
    config = AgentConfig(state_dir=tmp_path / "state", artifacts=str(tmp_path / "store"), min_free_bytes=1)
    checks = check_disk(config)
    assert [(check.name, check.state) for check in checks] == [("free space", "ok")] * 2
    assert [check.said.partition(":")[0] for check in checks] == [
        str(tmp_path / "state"),
        str(tmp_path / "store"),
    ]


def test_a_disk_without_room_keeps_an_agent_from_its_work(tmp_path: Path) -> None:
    """Nothing is claimed then: doctor fails, and says what to do."""
    (check,) = check_disk(AgentConfig(state_dir=tmp_path, min_free_bytes=disk_usage(tmp_path).free + 10**9))
    assert check.state == "fail"
    assert "are wanted" in check.said
    assert "MILLHAND_MIN_FREE" in check.todo


def test_what_lies_there_for_a_person_is_told(tmp_path: Path) -> None:
    """Kept folders are well, those that resist are not; without any nothing is said."""
    config = AgentConfig(state_dir=tmp_path, min_free_bytes=0)
    assert check_disk(config) == []
    (tmp_path / "runs" / ".resisting").mkdir(parents=True)
    assert check_disk(config) == []
    (tmp_path / "runs" / ".resisting" / "run-1").mkdir()
    (tmp_path / "kept" / "run-2").mkdir(parents=True)
    note = KeptNote(
        run_id="run-2", task_id="t", type="noop", error="e", at=datetime.now(UTC), size_bytes=2048
    )
    (tmp_path / "kept" / "run-2.json").write_bytes(msgspec.json.encode(note))
    kept, resisting = check_disk(config)
    assert (kept.state, kept.said) == ("ok", f"{tmp_path}/kept: 1 failed run, 2.0 KiB")
    assert (resisting.state, resisting.name) == ("warn", "runs' folders")
    assert "1 folder of runs could not be removed" in resisting.said


def test_what_is_kept_of_inputs_is_told(tmp_path: Path) -> None:
    """Before the agent has made the folder, and with something in it; without the setting nothing is said."""
    folder = tmp_path / "inputs"
    config = AgentConfig(state_dir=tmp_path, min_free_bytes=0, input_cache=folder, input_cache_bytes=2048)
    (before,) = check_disk(config)
    assert (before.state, before.said) == ("ok", f"{folder}: the agent makes it")
    (folder / "user-0" / "content").mkdir(parents=True)
    (folder / "key").write_bytes(b"k" * 32)
    (folder / "user-0" / "content" / "a").write_bytes(b"x" * 1024)
    (after,) = check_disk(config)
    assert after.said == f"{folder}: 1.0 KiB of 2.0 KiB in 1 file"
