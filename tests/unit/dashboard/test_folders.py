"""Opening files below folders: what changes meanwhile, and file systems that do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from server.dashboard import folders
from server.dashboard.files import Stored
from server.dashboard.folders import Busy, Folders, NotReadable, open_below

CONTENT = b"0123456789" * 300_000


def told_of(path: Path) -> Stored:
    """Return what a run tells of a file in its folder."""
    content = path.read_bytes()
    parts = (path.parent.name, path.name)
    return Stored(parts, len(content), hashlib.sha256(content).hexdigest(), "application/octet-stream")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a file of a run."""
    path = tmp_path / "store" / "run" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("where", ["the file", "its folder", "the run's folder"])
def test_a_link_is_not_followed_also_to_the_very_same_content(tmp_path: Path, where: str) -> None:
    """At the end or in the middle of the way, also to a place inside."""
    path = tmp_path / "store" / "run" / "a" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    place = {"the file": path, "its folder": path.parent, "the run's folder": path.parents[1]}[where]
    os.close(open_below([tmp_path / "store"], ("run", "a", "file")))
    place.rename(tmp_path / "store" / "moved")
    place.symlink_to(tmp_path / "store" / "moved")
    assert path.read_bytes() == CONTENT
    with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
        open_below([tmp_path / "store"], ("run", "a", "file"))


def test_folders_that_are_exchanged_meanwhile_lead_nowhere_else(file: Path, tmp_path: Path) -> None:
    """What is opened is the file, or nothing: never what a link led to for a moment."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(outside)
    run, beside, stop = file.parent, tmp_path / "beside", threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            run.rename(beside)
            (tmp_path / "link").rename(run)
            run.rename(tmp_path / "link")
            beside.rename(run)

    thread = threading.Thread(target=exchange)
    thread.start()
    opened = refused = 0
    try:
        while opened < 200 or refused < 200:
            try:
                descriptor = open_below([tmp_path / "store"], ("run", "file"))
            except OSError:
                refused += 1
                continue
            opened += 1
            size_bytes = os.fstat(descriptor).st_size
            os.close(descriptor)
            assert size_bytes == len(CONTENT)
    finally:
        stop.set()
        thread.join()


def test_a_file_that_is_cut_while_it_is_read_ends_in_an_error(file: Path, tmp_path: Path) -> None:
    """What is missing is not made up, and nobody takes the part for the whole."""

    async def read() -> None:
        async with Folders([tmp_path / "store"]) as made, made.opened(told_of(file)) as descriptor:
            chunks = made.chunks(descriptor, len(CONTENT))
            await anext(chunks)
            os.truncate(file, 1024 * 1024)
            with pytest.raises(NotReadable, match="shorter"):
                await anext(chunks)

    asyncio.run(read())


def test_a_file_system_that_hangs_is_told_and_what_it_opens_late_is_closed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes on; the descriptor that comes later is nobody's."""
    answers, late = threading.Event(), []
    told = told_of(file)

    def hang(roots: Sequence[Path], parts: Sequence[str]) -> int:
        answers.wait(60.0)
        late.append(open_below(roots, parts))
        return late[0]

    async def look() -> None:
        async with Folders([tmp_path / "store"]) as made:
            with pytest.raises(Busy, match="did not answer"):
                async with made.opened(told):
                    raise AssertionError("it was opened")
            answers.set()
            for _ in range(10_000):
                await asyncio.sleep(0.001)
                with contextlib.suppress(IndexError, OSError):
                    os.fstat(late[0])
                    continue
                if late:
                    return
            raise AssertionError("it stays open")

    monkeypatch.setattr(folders, "READ_S", 0.05)  # a mount that hangs cannot be made without root
    monkeypatch.setattr(folders, "open_below", hang)
    asyncio.run(look())


def test_a_file_is_hashed_once_as_long_as_it_stays_the_same(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again once it was written."""
    hashed: list[int] = []
    real = folders.hash_chunk

    def counted(digest: folders.Digest, descriptor: int, at: int, end: int) -> int:
        hashed.append(at)
        return real(digest, descriptor, at, end)

    async def look() -> None:
        async with Folders([tmp_path / "store"]) as made:
            for expected in (3, 3):
                async with made.opened(told_of(file)):
                    assert len(hashed) == expected
            await asyncio.to_thread(file.write_bytes, CONTENT[::-1])
            with pytest.raises(NotReadable, match="SHA-256"):
                async with made.opened(told):
                    raise AssertionError("it was opened")

    told = told_of(file)
    monkeypatch.setattr(folders, "hash_chunk", counted)  # counts, and does the same
    asyncio.run(look())


def test_a_large_file_that_many_ask_for_is_read_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reloads a page ten times does not have it hashed ten times beside each other."""
    hashed: list[int] = []
    real = folders.hash_chunk

    def counted(digest: folders.Digest, descriptor: int, at: int, end: int) -> int:
        hashed.append(at)
        return real(digest, descriptor, at, end)

    async def look() -> None:
        async def once(made: Folders) -> None:
            async with made.opened(told):
                assert len(hashed) == 3

        async with Folders([tmp_path / "store"]) as made:
            await asyncio.gather(*(once(made) for _ in range(10)))

    told = told_of(file)
    monkeypatch.setattr(folders, "LARGE_BYTES", len(CONTENT))  # else the file would be written for a while
    monkeypatch.setattr(folders, "hash_chunk", counted)  # counts, and does the same
    asyncio.run(look())
