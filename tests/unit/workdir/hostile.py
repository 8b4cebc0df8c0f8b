"""Folders as hostile handlers leave them."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

DEPTH = 1_000  # levels of a name of 20 letters: five times what a path may have (PATH_MAX)


def deep(folder: Path) -> None:
    """Nest folders deeper than any path can name, a file in each."""
    current = os.open(folder, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d" * 20, dir_fd=current)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=current))
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)


def locked(folder: Path) -> None:
    """Take every right from folders and files."""
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("x")
    (folder / "a" / "b" / "file").chmod(0)
    for path in (folder / "a" / "b", folder / "a", folder):
        path.chmod(0)


def sticky(folder: Path) -> None:
    """Let nobody but the owner remove what is in a folder."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    for path in (folder / "a" / "b", folder / "a", folder):
        path.chmod(0o1700)


def odd(folder: Path) -> None:
    """Make entries of every kind and name."""
    for name in (b"new\nline", b"\xff\xfe", b"-rf", b" ", b"*", b"n" * 255, b".leaving-1"):
        os.close(os.open(os.path.join(os.fsencode(folder), name), os.O_CREAT | os.O_WRONLY))  # noqa: PTH118
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("/nowhere/at/all")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)


def many(folder: Path) -> None:
    """Make many files, and many folders that are not empty."""
    for number in range(400):
        (folder / f"{number}.txt").touch()
        (folder / "folders" / str(number)).mkdir(parents=True)
        (folder / "folders" / str(number) / "file").touch()


def holes(folder: Path) -> None:
    """Make a file that looks larger than the disk."""
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 40)


EVERY: tuple[Callable[[Path], None], ...] = (deep, locked, sticky, odd, many, holes)


def immutable(path: Path, *, is_on: bool) -> bool:
    """Forbid all change of a file, for root too (chattr(1)); tell whether that is possible here."""
    sign = "+i" if is_on else "-i"
    try:
        done = subprocess.run(["chattr", sign, str(path)], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
