"""Spool and folder store on a real disk that is full: a tmpfs of 1 MiB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 60.0
SCRIPT = """
import asyncio, sys
from pathlib import Path
from worker.storage.file import MadeFile, SpooledFile
from worker.storage.folder import FolderStore
from worker.storage.spool import Spool, SpoolError
from worker.storage.store import StoreError, StoreRefused

disk, outside = Path(sys.argv[1]), Path(sys.argv[2])

async def main():
    spool = Spool(disk / "spool", 1 << 30)
    (disk / "runs").mkdir()
    (disk / "runs" / "small").write_bytes(b"x" * 1000)
    made = [MadeFile(path=disk / "runs" / "small", name="small"), MadeFile(path=outside, name="large.bin")]
    try:
        await spool.take("run-1", made, disk / "runs")
    except SpoolError as error:
        print(error)
    assert list((disk / "spool").iterdir()) == [], "nothing half is left"
    size_bytes = outside.stat().st_size
    file = SpooledFile(name="large.bin", path="x", size_bytes=size_bytes, sha256="", content_type="a/b")
    try:
        await FolderStore(disk / "place").store("run-1", file, outside)
    except StoreRefused:
        print("this would wait for a person")
    except StoreError as error:
        print(error)
    assert list((disk / "place" / "run-1").iterdir()) == [], "nothing half is left"

asyncio.run(main())
"""


def test_a_full_disk_names_the_file_and_the_space_and_leaves_nothing(tmp_path: Path) -> None:
    """In the spool and in the store; what is moved needs no room, what is copied finds none."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    (tmp_path / "disk").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    shell = 'mount -t tmpfs -o size=1m disk "$1" && exec "$2" -c "$3" "$1" "$4"'
    command = ["unshare", "--mount", "sh", "-c", shell, "sh", str(tmp_path / "disk"), sys.executable, SCRIPT]
    try:
        done = subprocess.run(
            [*command, str(tmp_path / "large")], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs unshare(1)")
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    spooled, stored = done.stdout.splitlines()
    assert spooled.startswith(
        "file large.bin could not be kept until it is stored: No space left on device ("
    )
    assert "bytes free)" in spooled
    assert stored.startswith("file large.bin could not be stored at ")
    assert "No space left on device" in stored
