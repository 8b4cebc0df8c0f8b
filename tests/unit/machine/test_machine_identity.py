"""The agent's id: kept, and bound to one place."""

from __future__ import annotations

import shutil
import stat
import uuid
from pathlib import Path

import pytest

from tests.unit.machine.recorded import record
from worker.machine.identity import load_agent_id, machine_fingerprint


def test_the_id_stays_with_its_directory(tmp_path: Path) -> None:
    """The second start finds what the first one made."""
    first = load_agent_id(tmp_path / "state", uuid.uuid4, "m1")
    assert load_agent_id(tmp_path / "state", uuid.uuid4, "m1") == first
    assert str(uuid.UUID(first)) == first


def test_a_copied_directory_gets_a_new_id(tmp_path: Path) -> None:
    """Two agents never share one; the original keeps its own."""
    first = load_agent_id(tmp_path / "state", uuid.uuid4, "m1")
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    assert load_agent_id(tmp_path / "copy", uuid.uuid4, "m1") != first
    assert load_agent_id(tmp_path / "state", uuid.uuid4, "m1") == first


def test_a_copy_at_the_same_path_gets_a_new_id(tmp_path: Path) -> None:
    """A directory restored from a backup is another one, even where it stands at the old path."""
    first = load_agent_id(tmp_path / "state", uuid.uuid4, "m1")
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    shutil.move(tmp_path / "state", tmp_path / "old")
    shutil.copytree(tmp_path / "backup", tmp_path / "state")
    assert load_agent_id(tmp_path / "state", uuid.uuid4, "m1") != first


def test_another_machine_gets_a_new_id(tmp_path: Path) -> None:
    """A disk that was cloned to another machine does not carry the id along."""
    first = load_agent_id(tmp_path, uuid.uuid4, "m1")
    assert load_agent_id(tmp_path, uuid.uuid4, "m2") != first


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"id": "no uuid", "place": "x"}', b'{"id": 7}', b"\xff\xfe"]
)
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    """A power cut or an editor leaves no agent without an id."""
    (tmp_path / "agent-id").write_bytes(content)
    made = load_agent_id(tmp_path, uuid.uuid4, "m1")
    assert load_agent_id(tmp_path, uuid.uuid4, "m1") == made


def test_only_the_owner_reads_the_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    """The file is private, and no half-written one stays beside it."""
    load_agent_id(tmp_path, uuid.uuid4, "m1")
    assert stat.S_IMODE((tmp_path / "agent-id").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["agent-id"]


def test_a_half_written_file_of_an_earlier_life_does_no_harm(tmp_path: Path) -> None:
    """What a crash left under the temporary name is overwritten."""
    (tmp_path / "agent-id.new").write_text("half a")
    assert load_agent_id(tmp_path, uuid.uuid4, "m1") == load_agent_id(tmp_path, uuid.uuid4, "m1")


def test_machines_differ_by_machine_id_and_by_board(tmp_path: Path) -> None:
    """Clones of one image share the machine id; the board's UUID tells them apart."""
    files = {"etc/machine-id": "a" * 32, "sys/class/dmi/id/product_uuid": "uuid-1\n"}
    first = machine_fingerprint(record(tmp_path / "1", files))
    clone = machine_fingerprint(record(tmp_path / "2", files | {"sys/class/dmi/id/product_uuid": "uuid-2\n"}))
    bare = machine_fingerprint(tmp_path / "3")
    assert len({first, clone, bare}) == 3
    assert machine_fingerprint(tmp_path / "1") == first
