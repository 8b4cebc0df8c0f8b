"""A folder as a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.storage.samples import spooled
from worker.storage.file import SpooledFile, safe_part
from worker.storage.folder import FolderStore
from worker.storage.opening import open_store
from worker.storage.store import FileGone, StoreError, StoreRefused, limit_s


def store(folder: Path, file: SpooledFile, path: Path) -> Path:
    """Store a file; return where it is."""
    place = FolderStore(folder)
    asyncio.run(place.store("run-1", file, path))
    target = folder / "run-1" / file.name
    assert place.url_of("run-1", file.name) == target.as_uri()
    return target


def test_a_file_is_stored_without_a_copy_on_the_same_file_system(tmp_path: Path) -> None:
    """It gets a second name; the spool's goes later."""
    file, path = spooled(tmp_path, b"model", "deep/a.glb")
    target = store(tmp_path / "place", file, path)
    assert target.samefile(path)
    assert [one.name for one in target.parent.iterdir()] == ["a.glb"]


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As onto another disk; a disk cannot be had here, so the link is refused."""

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    file, path = spooled(tmp_path, b"model" * 500_000)
    target = store(tmp_path / "place", file, path)
    assert not target.samefile(path)
    assert target.read_bytes() == b"model" * 500_000
    path.write_bytes(b"MODEL" * 500_000)
    with pytest.raises(FileGone, match=r"a\.glb was changed in the spool"):
        store(tmp_path / "place", file, path)
    assert target.read_bytes() == b"model" * 500_000
    assert len(list(target.parent.iterdir())) == 1


def test_storing_again_replaces_whole(tmp_path: Path) -> None:
    """After a crash it is done once more, also over a half one and with the longest of names."""
    file, path = spooled(tmp_path, b"second", "n" * 255)
    target = tmp_path / "place" / "run-1" / file.name
    target.parent.mkdir(parents=True)
    target.write_text("first")
    for _ in range(2):
        store(tmp_path / "place", file, path)
        assert target.read_text() == "second"
    assert len(list(target.parent.iterdir())) == 1


def test_a_folder_that_refuses_names_file_and_reason(tmp_path: Path) -> None:
    """Something in the way waits for a person."""
    file, path = spooled(tmp_path, b"model")
    (tmp_path / "place").write_text("in the way")
    with pytest.raises(StoreRefused, match=r"file a\.glb could not be stored at .*place.*: "):
        store(tmp_path / "place", file, path)


def test_a_name_that_a_folder_cannot_have_waits_for_a_person(tmp_path: Path) -> None:
    """No later try would be shorter."""
    file, path = spooled(tmp_path, b"model", "x" * 256)
    with pytest.raises(StoreRefused, match="File name too long"):
        store(tmp_path / "place", file, path)


def test_a_full_disk_passes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with the space that is left, and nothing half stays; no disk can be filled here."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "place" / "run-1" / "x"))

    monkeypatch.setattr("worker.storage.folder.copied", refuse)
    monkeypatch.setattr("worker.storage.folder.linked", lambda *_: False)
    file, path = spooled(tmp_path, b"model")
    with pytest.raises(StoreError, match=r"No space left on device \(.*run-1 has \d+ bytes free\)") as raised:
        store(tmp_path / "place", file, path)
    assert not isinstance(raised.value, StoreRefused)
    assert list((tmp_path / "place" / "run-1").iterdir()) == []


def test_a_spooled_file_that_is_gone_or_cut_is_told_so(tmp_path: Path) -> None:
    """No later try would mend it."""
    file, path = spooled(tmp_path, b"model")
    path.write_bytes(b"mod")
    for _ in range(2):
        with pytest.raises(FileGone, match=r"a\.glb is not whole in the spool"):
            store(tmp_path / "place", file, path)
        path.unlink(missing_ok=True)


def test_a_large_file_may_take_longer() -> None:
    """The limit grows with the size, and no file is without one."""
    assert limit_s(0) == 60.0
    assert 3600.0 < limit_s(1 << 30) < 2 * 3600.0


def test_a_folder_may_be_given_as_a_url(tmp_path: Path) -> None:
    """With signs that a URL writes otherwise."""
    place = open_store((tmp_path / "a b").as_uri())
    file, path = spooled(tmp_path, b"model")
    asyncio.run(place.store("run-1", file, path))
    assert (tmp_path / "a b" / "run-1" / "a.glb").read_bytes() == b"model"
    asyncio.run(place.aclose())


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", "x" * 200, "ü", ".", "a b", "\ud800"])
def test_an_id_that_is_no_folder_name_leads_nowhere(run_id: str) -> None:
    """Servers choose ids; paths are ours."""
    assert safe_part(run_id).startswith("run-")
    assert "/" not in safe_part(run_id)
    assert safe_part("2f1c0a3e-11_x") == "2f1c0a3e-11_x"
