"""A program that does what handlers do, in the folder that it is given; prints what did not work."""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path


def files(folder: Path) -> None:
    """Make, change, move, link and remove files and folders."""
    (folder / "a" / "b").mkdir(parents=True)
    first = folder / "a" / "file"
    first.write_text("text")
    os.truncate(first, 2)
    first.rename(folder / "a" / "b" / "moved")
    os.link(folder / "a" / "b" / "moved", folder / "hard")
    (folder / "soft").symlink_to("hard")
    assert (folder / "soft").read_text() == "te"
    os.mkfifo(folder / "pipe")
    (folder / "hard").unlink()
    (folder / "soft").unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "pipe"]


def listing(folder: Path) -> None:
    """Look around: names stay visible everywhere."""
    assert list(Path("/").iterdir())
    assert list(folder.parent.parent.iterdir())
    assert folder.parent.parent.stat().st_size


def programs(folder: Path) -> None:
    """Run programs, by a shell too."""
    ran = subprocess.run(
        ["/bin/sh", "-c", "echo a > out; cat out | tr a b"], cwd=folder, stdout=-1, check=True
    )
    assert ran.stdout == b"b\n", ran
    ran = subprocess.run([sys.executable, "-c", "import ssl, ctypes; print(1)"], stdout=-1, check=True)
    assert ran.stdout == b"1\n", ran


def processes(_folder: Path) -> None:
    """Share work with processes of one's own, forked and fresh; end them by signals."""
    for way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert pool.map(abs, [-1, 2]) == [1, 2]
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(30) == -signal.SIGTERM
    assert Path(f"/proc/{os.getpid()}/environ").read_bytes()
    assert Path("/proc/self/maps").read_text()


def memory(folder: Path) -> None:
    """Share memory: by name, by file, and anonymous."""
    block = shared_memory.SharedMemory(create=True, size=4096)
    assert block.buf is not None
    block.buf[0] = 1
    block.close()
    block.unlink()
    with (folder / "mapped").open("w+b") as file:
        file.truncate(4096)
        mmap.mmap(file.fileno(), 4096)[0] = 1
    os.close(os.memfd_create("anonymous"))


def sockets(folder: Path) -> None:
    """Talk by TCP, by a socket in a folder, and by an abstract one, within one's own."""
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_UNIX, str(folder / "socket")),
        (socket.AF_UNIX, f"\0honest-{os.getpid()}"),
    ):
        with socket.socket(family) as listener, socket.socket(family) as caller:
            listener.bind(address)
            listener.listen()
            caller.connect(listener.getsockname())
            listener.accept()[0].close()


def devices(_folder: Path) -> None:
    """Use the devices that programs use."""
    for name in ("null", "zero", "urandom"):
        Path("/dev", name).read_bytes() if name == "null" else os.read(
            os.open(f"/dev/{name}", os.O_RDONLY), 8
        )
    Path("/dev/null").write_text("gone")
    os.openpty()


def databases(folder: Path) -> None:
    """Keep a database, which locks, cuts and syncs."""
    with sqlite3.connect(folder / "db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
    connection.close()


def temporary(_folder: Path) -> None:
    """Use the folder for temporary files."""
    with tempfile.TemporaryDirectory() as made:
        Path(made, "file").write_text("text")


def threads(_folder: Path) -> None:
    """Start a thread that makes files of its own."""
    done = threading.Thread(target=lambda: tempfile.TemporaryFile().close())
    done.start()
    done.join(30)


def attempt(way: Callable[[Path], None], folder: Path) -> str | None:
    """Do one thing; say what went wrong."""
    folder.mkdir()
    try:
        way(folder)
    except (OSError, AssertionError, subprocess.SubprocessError):
        return traceback.format_exc(limit=-2)
    return None


if __name__ == "__main__":
    root = Path(sys.argv[1])
    tempfile.tempdir = str(root)
    ways = (files, listing, programs, processes, memory, sockets, devices, databases, temporary, threads)
    said = {way.__name__: attempt(way, root / way.__name__) for way in ways}
    sys.stdout.write(json.dumps({name: text for name, text in said.items() if text}))
