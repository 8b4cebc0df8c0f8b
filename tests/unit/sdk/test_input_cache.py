"""Inputs are kept between runs: revalidated, verified on each use, bounded, downloaded once for all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.sdk.file_server import FileServer, file_server
from worker.sdk import Cancelled, Fail, download
from worker.sdk.cache_grant import CacheGrant
from worker.sdk.input_cache import InputCache
from worker.sdk.stop_signal import StopSignal
from worker.sdk.testing import KeepingSink, ToldContext

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()
KEY = "ab" * 32

Start = Callable[..., ToldContext]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve a file; pauses between tries are none."""
    monkeypatch.setattr(download, "PAUSES_S", (0.0,) * 4)
    with file_server() as serving:
        serving.files["/scene.bin"] = BODY
        yield serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of a cache."""
    made = tmp_path / "cache"
    made.mkdir()
    return made


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Start:
    """Begin runs, each with a folder of its own, that share the cache."""
    count = 0

    def begin(key: str = KEY, max_bytes: int = 10**9) -> ToldContext:
        nonlocal count
        count += 1
        workdir = tmp_path / f"run-{count}"
        workdir.mkdir()
        return ToldContext(
            KeepingSink(), StopSignal(), run_id="r", task_id="t", type="test", workdir=workdir,
            input_cache=CacheGrant(str(folder), key, max_bytes),
        )  # fmt: skip

    return begin


def contents(folder: Path) -> list[Path]:
    """Return the content that is kept."""
    return sorted((folder / "content").iterdir())


def test_what_has_not_changed_is_not_downloaded_again(server: FileServer, start: Start) -> None:
    """The server is asked each time, and says so; each run has a file of its own."""
    first, second = (start().input(f"{server.url}/scene.bin") for _ in range(2))
    assert first.read_bytes() == second.read_bytes() == BODY
    assert server.asks("If-None-Match") == [None, server.etag("/scene.bin")]
    assert server.sent_bytes == len(BODY)
    first.write_bytes(b"changed by its run")
    assert start().input(f"{server.url}/scene.bin").read_bytes() == BODY


def test_what_has_changed_is_downloaded(server: FileServer, start: Start) -> None:
    """And is what is kept from then on."""
    url = f"{server.url}/scene.bin"
    start().input(url)
    server.files["/scene.bin"] = b"new"
    assert start().input(url).read_bytes() == start().input(url).read_bytes() == b"new"
    assert server.sent_bytes == len(BODY) + 3


def test_who_may_not_read_it_any_more_does_not_get_it(server: FileServer, start: Start) -> None:
    """The server decides, each time."""
    start().input(f"{server.url}/scene.bin")
    server.statuses["/scene.bin"] = [403]
    with pytest.raises(Fail, match="403"):
        start().input(f"{server.url}/scene.bin")


def test_a_server_that_sends_it_all_the_same_is_not_listened_to(server: FileServer, start: Start) -> None:
    """The same ETag is the same content; without any, nothing is kept."""
    start().input(f"{server.url}/scene.bin")
    server.etag("/scene.bin")
    for body in (b"a", b"b"):
        server.files["/plain"], server.has_etags = body, False
        assert start().input(f"{server.url}/plain").read_bytes() == body


def test_a_checksum_needs_no_server(server: FileServer, start: Start, folder: Path) -> None:
    """Content is content, from wherever it came, for handlers of every type."""
    start().input(f"{server.url}/scene.bin", sha256=SHA256)
    again = start(key="cd" * 32).input("http://127.0.0.1:9/elsewhere.bin", sha256=SHA256)
    assert (again.name, again.read_bytes()) == ("elsewhere.bin", BODY)
    assert len(server.asked) == 1
    assert contents(folder) == [folder / "content" / SHA256]


def test_a_content_that_is_not_what_was_asked_for_is_never_kept(
    server: FileServer, start: Start, folder: Path
) -> None:
    """Else the next run would have it."""
    with pytest.raises(Fail, match=f"has the SHA-256 {SHA256}, not 0000"):
        start().input(f"{server.url}/scene.bin", sha256="0" * 64)
    assert contents(folder) == []


def test_a_content_that_was_forged_is_seen_and_downloaded_again(
    server: FileServer, start: Start, folder: Path
) -> None:
    """Whoever may write the cache can cost a download, and put nothing into a run."""
    url = f"{server.url}/scene.bin"
    start().input(url)
    (content,) = contents(folder)
    for forged in (b"x" * len(BODY), b""):
        content.chmod(0o600)
        content.write_bytes(forged)
        assert start().input(url).read_bytes() == BODY
        assert start().input(url, sha256=SHA256).read_bytes() == BODY
    content.unlink()
    content.symlink_to("/etc/hostname")
    assert start().input(url).read_bytes() == BODY


def test_a_pipe_in_place_of_a_content_holds_nobody_up(server: FileServer, start: Start, folder: Path) -> None:
    """Nor does a folder."""
    url = f"{server.url}/scene.bin"
    start().input(url)
    (content,) = contents(folder)
    content.unlink()
    os.mkfifo(content)
    assert start().input(url).read_bytes() == BODY


def test_a_content_whose_size_is_a_lie_costs_a_download(
    server: FileServer, start: Start, folder: Path
) -> None:
    """It is replaced, and no run fails because somebody had it grow."""
    url = f"{server.url}/scene.bin"
    start().input(url)
    (content,) = contents(folder)
    for digest in (None, SHA256):
        content.chmod(0o600)
        os.truncate(content, 1 << 40)
        assert start().input(url, sha256=digest).read_bytes() == BODY
        assert content.read_bytes() == BODY


@pytest.mark.parametrize(
    "seal", ['"é"', '"\\ud800"', '"😀"', "1", "null", '"",' + '"x":' + "[" * 10_000 + "]" * 6_000]
)
def test_a_note_that_is_rubbish_is_none(server: FileServer, start: Start, folder: Path, seal: str) -> None:
    """Whatever its seal is made of."""
    url = f"{server.url}/scene.bin"
    start().input(url)
    (note,) = (folder / "known").iterdir()
    note.chmod(0o600)
    text = f'{{"sha256":"{SHA256}","size":1,"etag":null,"modified":null,"seal":{seal}}}'
    note.write_text(text)
    assert start().input(url).read_bytes() == BODY
    assert note.read_text() != text


def test_who_holds_the_room_costs_others_what_they_would_keep(
    server: FileServer, start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not their time, and a stop is heard."""
    url = f"{server.url}/scene.bin"
    InputCache(CacheGrant(str(folder), KEY, 1))
    with (folder / "locks" / "room").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert start().input(url).read_bytes() == BODY
        assert contents(folder) == []
        monkeypatch.setattr("worker.sdk.input_cache.WAIT_ROOM_S", 3600.0)
        stopped = start()
        threading.Timer(0.5, stopped.ask_to_stop).start()
        with pytest.raises(Cancelled):
            stopped.input(url)
    assert start().input(url).read_bytes() == BODY
    assert [path.name for path in contents(folder)] == [SHA256]


def test_a_stop_ends_the_copying(start: Start, folder: Path, tmp_path: Path) -> None:
    """In both directions; nobody waits for it meanwhile, and no half is left."""
    cache = InputCache(CacheGrant(str(folder), KEY, 10**9))
    path, part = tmp_path / "mine", tmp_path / "part"
    path.write_bytes(BODY)
    part.touch()
    done = download.Downloaded(len(BODY), SHA256, '"1"', None)

    def stop() -> None:
        with (folder / "locks" / "room").open() as room:  # which nobody holds
            fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        cache.keep("http://x", done, path, stop)
    assert contents(folder) == []
    cache.keep("http://x", done, path, lambda: None)
    with pytest.raises(Cancelled):
        cache.copy(SHA256, part, 10**9, stop)
    assert cache.copy(SHA256, part, 10**9, lambda: None) == len(BODY)


def test_what_a_url_had_is_believed_from_ones_own_kind_only(
    server: FileServer, start: Start, folder: Path
) -> None:
    """Another type's handlers cannot say that a URL has their content: they do not have the key."""
    url = f"{server.url}/scene.bin"
    start().input(url)
    poison = b"poison"
    (folder / "content" / hashlib.sha256(poison).hexdigest()).write_bytes(poison)
    (note,) = (folder / "known").iterdir()
    text = note.read_bytes().replace(SHA256.encode(), hashlib.sha256(poison).hexdigest().encode())
    note.chmod(0o600)
    note.write_bytes(text)
    assert start().input(url).read_bytes() == BODY
    assert start(key="cd" * 32).input(url).read_bytes() == BODY
    assert server.asks("If-None-Match") == [None, None, None]
    assert len(list((folder / "known").iterdir())) == 2
    for rubbish in (b"", b"[1]", b"{" * 1_000_000):
        for note in (folder / "known").iterdir():
            note.chmod(0o600)
            note.write_bytes(rubbish)
        assert start().input(url).read_bytes() == BODY


def test_names_in_the_cache_tell_no_url(server: FileServer, start: Start, folder: Path) -> None:
    """Those of signed links are secrets."""
    start().input(f"{server.url}/scene.bin?token=hunter2")
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert len(kept) >= 3
    assert all("hunter2" not in path.name and b"hunter2" not in path.read_bytes() for path in kept)


def test_the_bound_is_kept_and_what_was_used_longest_ago_goes(
    server: FileServer, start: Start, folder: Path
) -> None:
    """A run that has a file keeps it: it is its own. What is larger than the bound is not kept at all."""
    for number in range(4):
        server.files[f"/{number}"] = bytes([number]) * 1000

    def get(number: int) -> Path:
        path = start(max_bytes=3000).input(f"{server.url}/{number}")
        digest = hashlib.sha256(server.files[f"/{number}"]).hexdigest()
        os.utime(folder / "content" / digest, (clock(), clock()))
        return path

    ticks = iter(range(1_000_000, 2_000_000))

    def clock() -> float:
        return float(next(ticks))

    mine = get(0)
    get(1), get(2), get(0), get(3)
    kept = {path.read_bytes()[0] for path in contents(folder)}
    assert kept == {0, 2, 3}
    assert mine.read_bytes() == server.files["/0"]
    assert start(max_bytes=3000).input(f"{server.url}/scene.bin").read_bytes() == BODY
    assert {path.read_bytes()[0] for path in contents(folder)} == kept


def test_runs_that_want_the_same_download_it_once(server: FileServer, start: Start) -> None:
    """The others wait, say so, and take it from the cache."""
    runs = [start() for _ in range(4)]

    def waiting() -> int:
        told = (0.0, "input scene.bin: another run downloads it")
        return sum(told in one.told.progress for one in runs)

    def hold() -> None:
        until = time.monotonic() + 60
        while waiting() < 3 and time.monotonic() < until:
            time.sleep(0.01)

    server.on_block = hold
    threads = [
        threading.Thread(target=one.input, args=(f"{server.url}/scene.bin",), kwargs={"sha256": SHA256})
        for one in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((one.workdir / "inputs" / "scene.bin").read_bytes() == BODY for one in runs)
    assert server.sent_bytes == len(BODY)
    assert waiting() == 3


def test_a_run_that_waits_for_another_can_be_stopped(start: Start, folder: Path, server: FileServer) -> None:
    """And a lock ends with the process that holds it."""
    url = f"{server.url}/scene.bin"
    InputCache(CacheGrant(str(folder), KEY, 1))
    slot = folder / "locks" / hashlib.sha256(url.encode()).hexdigest()[:2]
    code = (
        "import fcntl,sys,time; f=open(sys.argv[1],'a'); fcntl.flock(f,2); print('held',flush=True)\n"
        "time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(slot)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        waiting = start()
        thread = threading.Timer(0.3, waiting.ask_to_stop)
        thread.start()
        with pytest.raises(Cancelled):
            waiting.input(url)
        thread.join()
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    assert start().input(url).read_bytes() == BODY


def test_a_process_that_was_forked_meanwhile_holds_no_lock(folder: Path) -> None:
    """It inherits the descriptor; the lock is given up all the same."""
    cache, left = InputCache(CacheGrant(str(folder), KEY, 10**9)), 0
    with cache.turn("x", lambda: None, lambda: None):
        left = os.fork()
        if left == 0:
            time.sleep(600)
            os._exit(0)
    try:
        slot = folder / "locks" / hashlib.sha256(b"x").hexdigest()[:2]
        with slot.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(left, 9)
        os.waitpid(left, 0)


def test_a_cache_that_cannot_be_used_costs_a_download_and_no_run(
    server: FileServer, start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone, a file, or full: the run has its input."""
    url = f"{server.url}/scene.bin"
    folder.rmdir()
    assert start().input(url).read_bytes() == BODY
    folder.write_text("no folder")
    assert start().input(url).read_bytes() == BODY
    folder.unlink()
    folder.mkdir()
    monkeypatch.setattr("worker.sdk.input_cache.MIN_FREE_BYTES", 1 << 62)
    assert start().input(url).read_bytes() == BODY
    assert contents(folder) == []


def test_parts_of_writers_that_are_gone_are_removed(server: FileServer, start: Start, folder: Path) -> None:
    """Those of writers that go on are not; neither is ever seen as content."""
    InputCache(CacheGrant(str(folder), KEY, 1))
    old, new = folder / "content" / ".old.1.1", folder / "content" / ".new.1.1"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (1, 1))
    start().input(f"{server.url}/scene.bin")
    assert contents(folder) == [new, folder / "content" / SHA256]


def test_a_kept_input_is_held_to_the_bound_too(server: FileServer, start: Start) -> None:
    """Whether it is downloaded must not matter; and its part of the progress is filled."""
    start().input(f"{server.url}/scene.bin", sha256=SHA256)
    with pytest.raises(Fail, match="larger than 1000 bytes: it has 1048576"):
        start().input(f"{server.url}/scene.bin", sha256=SHA256, max_bytes=1000)
    run = start()
    run.input(f"{server.url}/scene.bin", sha256=SHA256, progress=(0.1, 0.3))
    assert run.told.progress[-1] == (0.3, "input scene.bin is there")
