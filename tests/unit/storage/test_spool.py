"""Files on their way out of a run's folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from worker.storage import taking
from worker.storage.file import MadeFile, SpooledFile
from worker.storage.spool import Spool, SpoolError
from worker.storage.taking import Rights, duplicates

LIMIT_BYTES = 100


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A run's folder."""
    path = tmp_path / "runs" / "run-1"
    path.mkdir(parents=True)
    return path


def made(path: Path, name: str | None = None, **fields: object) -> MadeFile:
    """Return a file as a handler hands it over."""
    return MadeFile(path=path, name=name or path.name, **fields)  # type: ignore[arg-type]


def take(spool: Spool, workdir: Path, *files: MadeFile) -> Sequence[SpooledFile]:
    """Take files."""
    return asyncio.run(spool.take("run-1", files, workdir))


def spool_of(tmp_path: Path, rights: Rights | None = None) -> Spool:
    """Return a spool."""
    return Spool(tmp_path / "spool", LIMIT_BYTES, rights)


def test_a_file_of_the_run_is_moved_and_measured(tmp_path: Path, workdir: Path) -> None:
    """No copy: what was written is what waits; under a number, so that its name means nothing."""
    (workdir / "a").write_bytes(b"model")
    inode = (workdir / "a").stat().st_ino
    spool = spool_of(tmp_path)
    (file,) = take(spool, workdir, made(workdir / "a", "deep/a.glb"))
    sha256 = hashlib.sha256(b"model").hexdigest()
    assert file == SpooledFile(
        name="deep/a.glb", path="run-1/0", size_bytes=5, sha256=sha256, content_type="model/gltf-binary"
    )
    assert spool.path_of(file).stat().st_ino == inode
    assert not (workdir / "a").exists()
    assert spool.used_bytes == 5


def test_a_file_of_somebody_else_is_copied(tmp_path: Path, workdir: Path) -> None:
    """Outside, behind a link, or with another name: it stays, and a later change reaches nothing here."""
    outside = tmp_path / "outside"
    outside.write_text("before")
    (workdir / "symlink").symlink_to(outside)
    (workdir / "hardlink").hardlink_to(outside)
    spool = spool_of(tmp_path)
    sources = [outside, workdir / "symlink", workdir / "hardlink"]
    files = take(spool, workdir, *(made(path, f"{at}.txt") for at, path in enumerate(sources)))
    assert outside.read_text() == "before"
    outside.write_text("after!")
    assert [spool.path_of(file).read_text() for file in files] == ["before"] * 3
    assert [file.content_type for file in files] == ["text/plain"] * 3


def test_a_file_may_be_handed_over_under_several_names(tmp_path: Path, workdir: Path) -> None:
    """Also by a link to it; each name gets the whole of it."""
    (workdir / "a").write_bytes(b"model")
    (workdir / "link").symlink_to("a")
    spool = spool_of(tmp_path)
    files = take(spool, workdir, made(workdir / "a"), made(workdir / "a", "b"), made(workdir / "link", "c"))
    assert [spool.path_of(file).read_bytes() for file in files] == [b"model"] * 3
    assert not any(spool.path_of(file).is_symlink() for file in files)


def test_a_file_on_another_file_system_is_copied(tmp_path: Path, workdir: Path) -> None:
    """Shared memory is one; a handler may well write there."""
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:  # noqa: PTH116 - a mount, not a path
        pytest.skip("/dev/shm is no file system of its own here")
    elsewhere = Path(f"/dev/shm/millhand-test-{os.getpid()}")
    elsewhere.write_bytes(b"model")
    try:
        spool = spool_of(tmp_path)
        (file,) = take(spool, workdir, made(elsewhere))
        assert spool.path_of(file).read_bytes() == b"model"
        assert elsewhere.exists()
    finally:
        elsewhere.unlink()


def test_what_is_in_the_spool_is_the_agents_own(tmp_path: Path, workdir: Path) -> None:
    """No odd rights come along, whatever the handler set."""
    (workdir / "a").write_bytes(b"x")
    (workdir / "a").chmod(0o4755)
    spool = spool_of(tmp_path)
    (file,) = take(spool, workdir, made(workdir / "a"))
    assert stat.S_IMODE(spool.path_of(file).stat().st_mode) == 0o755
    assert stat.S_IMODE(spool.path_of(file).parent.stat().st_mode) == 0o700


def test_a_file_of_the_user_that_handlers_run_as_becomes_the_agents(tmp_path: Path, workdir: Path) -> None:
    """Whoever made it cannot change it any more."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as a task user does")
    (workdir / "a").write_bytes(b"model")
    os.chown(workdir / "a", 65534, 65534)
    (workdir / "a").chmod(0o640)
    spool = spool_of(tmp_path, Rights(reader_uid=65534))
    (file,) = take(spool, workdir, made(workdir / "a"))
    found = spool.path_of(file).stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o640)


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a//b", "", "a/../b", "a\nb", "stdout", "stderr/x"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, workdir: Path, name: str) -> None:
    """The child said it, and a child is not trusted."""
    (workdir / "a").write_bytes(b"x")
    with pytest.raises(SpoolError, match="name"):
        take(spool_of(tmp_path), workdir, MadeFile(path=workdir / "a", name=name))
    assert not (tmp_path / "spool").exists()


def test_the_runs_output_may_have_its_names_and_lie_anywhere(tmp_path: Path, workdir: Path) -> None:
    """The agent made it."""
    output = tmp_path / "kept" / "out"
    output.parent.mkdir()
    output.write_bytes(b"hello")
    rights = Rights(private=(tmp_path / "kept",))
    file = made(output, "stdout", is_ours=True, content_type="text/plain; charset=utf-8")
    (taken,) = take(spool_of(tmp_path, rights), workdir, file)
    assert (taken.name, taken.content_type) == ("stdout", "text/plain; charset=utf-8")
    assert not output.exists()


@pytest.mark.parametrize("told", ["text/html\r\nX: y", "ü", "x" * 300])
def test_a_type_that_cannot_stand_in_a_header_is_guessed(tmp_path: Path, workdir: Path, told: str) -> None:
    """Nobody writes headers by a content type."""
    (workdir / "a.stl").write_bytes(b"x")
    (file,) = take(spool_of(tmp_path), workdir, made(workdir / "a.stl", content_type=told))
    assert file.content_type == "model/stl"


def test_names_that_cannot_lie_beside_each_other_are_refused(tmp_path: Path, workdir: Path) -> None:
    """A folder as a store could not hold them."""
    assert duplicates(["a", "b/c", "b/d"]) == []
    assert duplicates(["a", "a"]) == ["a"]
    assert duplicates(["b/c/d", "b", "x"]) == ["b"]
    for name in ("a", "b"):
        (workdir / name).write_bytes(b"x")
    with pytest.raises(SpoolError, match="'a' is there twice"):
        take(spool_of(tmp_path), workdir, made(workdir / "a"), made(workdir / "b", "a/b"))


def test_files_that_the_agent_keeps_are_not_for_handlers(tmp_path: Path, workdir: Path) -> None:
    """The agent may read more than the handler: by path, by link, by another name; nor the kernel's files."""
    token = tmp_path / "secret" / "token"
    token.parent.mkdir()
    token.write_text("s3cret")
    (workdir / "symlink").symlink_to(token)
    (workdir / "hardlink").hardlink_to(token)
    rights = Rights(private=(token.parent, token))
    for path in (token, workdir / "symlink", workdir / "hardlink", Path("/proc/self/environ")):
        with pytest.raises(SpoolError, match="not the handler's to hand over"):
            take(spool_of(tmp_path, rights), workdir, made(path, "mine"))
    assert list((tmp_path / "spool").iterdir()) == []


def test_handlers_of_another_user_hand_over_what_that_user_may_read(tmp_path: Path, workdir: Path) -> None:
    """Not what only the agent's user may."""
    outside = tmp_path / "outside"
    outside.write_text("x")
    (workdir / "inside").write_text("x")
    rights = Rights(reader_uid=os.getuid() + 1)
    outside.chmod(0o600)
    with pytest.raises(SpoolError, match="not the handler's"):
        take(spool_of(tmp_path, rights), workdir, made(outside))
    outside.chmod(0o644)
    take(spool_of(tmp_path, rights), workdir, made(outside), made(workdir / "inside"))


def test_what_is_no_file_or_gone_is_named(tmp_path: Path, workdir: Path) -> None:
    """A pipe is not waited for; nothing of the run's other files stays."""
    os.mkfifo(workdir / "pipe")
    (workdir / "a").write_bytes(b"x")
    for path, why in [(workdir / "pipe", "no regular file"), (workdir / "gone", "No such file")]:
        with pytest.raises(SpoolError, match=f"file {path.name} at .*{why}"):
            take(spool_of(tmp_path), workdir, made(workdir / "a"), made(path))
        (workdir / "a").write_bytes(b"x")
        assert list((tmp_path / "spool").iterdir()) == []


def test_a_full_disk_is_told_with_file_and_space_and_leaves_nothing(
    tmp_path: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second file finds no room; no disk can be filled here."""
    outside = tmp_path / "big.bin"
    outside.write_bytes(b"x")
    (workdir / "a").write_bytes(b"x")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(taking, "copied", full)
    spool = spool_of(tmp_path)
    with pytest.raises(SpoolError, match=r"file big\.bin .*No space left on device \(.*\d+ bytes free\)"):
        take(spool, workdir, made(workdir / "a"), made(outside))
    assert list((tmp_path / "spool").iterdir()) == []
    assert spool.used_bytes == 0


def test_the_spool_is_full_at_its_bound_and_says_what_to_do(tmp_path: Path, workdir: Path) -> None:
    """One byte below is not; what runs is taken all the same, and room comes with removal."""
    spool = spool_of(tmp_path)
    (workdir / "a").write_bytes(b"x" * (LIMIT_BYTES - 1))
    take(spool, workdir, made(workdir / "a"))
    assert not spool.is_full
    (workdir / "b").write_bytes(b"x" * LIMIT_BYTES)
    asyncio.run(spool.take("run-2", [made(workdir / "b")], workdir))
    assert spool.is_full
    assert "199 bytes of files that are not stored yet, in 2 runs; 100 are allowed" in spool.fullness()
    asyncio.run(spool.remove("run-2"))
    asyncio.run(spool.remove("run-2"))
    assert not spool.is_full
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["run-1"]


def test_a_start_counts_what_is_waited_for_and_removes_the_rest(tmp_path: Path, workdir: Path) -> None:
    """A crash before the journal's word left files of no run; a damaged journal may have forgotten one."""
    for run_id in ("run-1", "run-2"):
        (workdir / "a").write_bytes(b"xyz")
        asyncio.run(spool_of(tmp_path).take(run_id, [made(workdir / "a")], workdir))
    for keeps_unknown, left, used_bytes in [(True, 2, 6), (False, 1, 3)]:
        spool = spool_of(tmp_path)
        asyncio.run(spool.recover({"run-1": ()}, keeps_unknown=keeps_unknown))
        assert len(list((tmp_path / "spool").iterdir())) == left
        assert spool.used_bytes == used_bytes


def test_a_start_without_a_spool_is_fine(tmp_path: Path) -> None:
    """The first one."""
    spool = spool_of(tmp_path)
    asyncio.run(spool.recover({}, keeps_unknown=False))
    assert spool.used_bytes == 0
    assert asyncio.run(spool.take("run-1", [], tmp_path)) == ()
