"""Faults of the kernel, injected by strace into the agent, its minder and its children; and full disks.

A run that meets one ends with a clear error that allows another attempt; the next one works; nothing is
left, and no descriptor leaks.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driver import drive, works

TIDY = {"is_tidy": True, "left": 0, "zombies": 0, "leaked": 0}
IS_TRACED = works("strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull)
MAY_MOUNT = works("unshare", "--mount")
pytestmark = pytest.mark.skipif(not IS_TRACED, reason="needs strace, and the right to trace")


def drive_with(folder: Path, call: str, error: str, when: str, *names: str) -> list[dict[str, Any]]:
    """Run tasks while one call of each process fails; see that this happened."""
    seen = folder / "strace"
    inject = f"inject={call}:error={error}:when={when}"
    before = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", str(seen), "-e", f"trace={call}", "-e", inject]
    told = drive(folder, *names, before=before)
    assert "INJECTED" in seen.read_text(), "nothing was injected: the test tests nothing"
    return told


@pytest.mark.parametrize(
    ("call", "error", "when", "lost", "says"),
    [
        ("clone", "EAGAIN", "1", 1, "Resource temporarily unavailable"),  # the minder forks
        ("socketpair", "EMFILE", "3", 1, "Too many open files"),  # of the minder; the first is asyncio's
        (
            "pipe2",
            "EMFILE",
            "2",
            2,
            "Too many open files",
        ),  # the agent's, the minder's
        ("pidfd_open", "EMFILE", "1", 1, "Too many open files"),  # to see the child's end
        ("epoll_ctl", "ENOSPC", "2", 1, "No space left"),  # to hear the minder
        ("epoll_ctl", "ENOSPC", "4", 1, "No space left"),  # to hear the child
    ],
)
def test_a_child_that_cannot_be_started_gives_its_run_back(
    tmp_path: Path, call: str, error: str, when: str, *, lost: int, says: str
) -> None:
    """Without processes, descriptors or watches no run is lost: a fault costs one try, then all is well."""
    *failed, fine, left = drive_with(tmp_path, call, error, when, *["tame"] * (lost + 1))
    assert len(failed) == lost
    for one in failed:
        assert (one["error"]["kind"], one["error"]["retryable"]) == ("internal", True), one
        assert says in one["error"]["message"]
    assert fine["code"] == "Success"
    assert left == TIDY


def test_a_folder_that_cannot_be_made_gives_its_run_back(tmp_path: Path) -> None:
    """A full disk is named, with the path."""
    (tmp_path / "runs").mkdir()
    run = tmp_path / "runs" / "run-1"
    only = ["-P", str(run), "-e", "trace=mkdir", "-e", "inject=mkdir:error=ENOSPC:when=1"]
    before = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, *only]
    first, second, left = drive(tmp_path, "tame", "tame", before=before)
    assert (first["error"]["kind"], first["error"]["retryable"]) == ("internal", True), first
    assert "No space left" in first["error"]["message"]
    assert str(run) in first["error"]["message"]
    assert second["code"] == "Success"
    assert left == TIDY


def test_a_channel_with_an_input_error_is_a_crash(tmp_path: Path) -> None:
    """The child cannot read what it shall do."""
    first, second, left = drive_with(tmp_path, "recvfrom", "EIO", "1", "tame", "tame")
    for one in (first, second):
        assert (one["code"], one["error"]["kind"], one["error"]["retryable"]) == ("Failed", "crashed", True)
    assert left == TIDY


@pytest.mark.parametrize("error", ["ENOBUFS", "ENOMEM"])
def test_orders_wait_for_the_kernels_memory(tmp_path: Path, error: str) -> None:
    """What agent and minder cannot send now follows; no run waits for ever for an order that was lost."""
    told = drive_with(tmp_path, "sendmsg", error, "1..4", "tame", "leaves_a_program_running", "tame")
    assert [one.get("code") for one in told[:3]] == ["Success"] * 3, told
    assert told[3] == TIDY


def test_a_file_that_the_disk_refuses_gives_its_run_back(tmp_path: Path) -> None:
    """A file that is not safely on the disk is not promised to anybody."""
    first, second, left = drive_with(tmp_path, "fsync", "EIO", "1", "goes_on_writing_an_artifact", "tame")
    assert (first["error"]["kind"], first["error"]["retryable"]) == ("internal", True), first
    assert "log.txt" in first["error"]["message"]
    assert "Input/output error" in first["error"]["message"]
    assert second["code"] == "Success"
    assert left == TIDY


@pytest.mark.skipif(not MAY_MOUNT, reason="mounts a small file system")
def test_output_that_finds_no_room_costs_no_run(tmp_path: Path) -> None:
    """Its file is cut; the run succeeds."""
    mount = f'mount -t tmpfs -o size=256k zoo {tmp_path} && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    first, second, left = drive(tmp_path, "floods_stdout", "tame", before=before)
    assert first["code"] == second["code"] == "Success", first
    assert left == TIDY


@pytest.mark.skipif(not MAY_MOUNT, reason="mounts a small file system")
def test_a_handler_that_fills_the_disk_gets_an_error_of_its_own(tmp_path: Path) -> None:
    """Its write fails, its folder is emptied, and the next run has room."""
    mount = f'mount -t tmpfs -o size=8m,nr_inodes=1k zoo {tmp_path} && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    first, second, left = drive(tmp_path, "fills_its_folder", "tame", before=before)
    assert first["error"]["kind"] == "handler_error", first
    assert "No space left" in first["error"]["message"]
    assert second["code"] == "Success"
    assert left == TIDY


@pytest.mark.skipif(not MAY_MOUNT, reason="mounts in a namespace of its own")
def test_what_a_handler_mounts_in_its_folder_does_not_keep_it(tmp_path: Path) -> None:
    """A mount in a run's folder cannot be removed as a folder; the run ends, and so does the next."""
    first, second, left = drive(tmp_path, "mounts_over_its_folder", "tame", before=["unshare", "--mount"])
    assert first["code"] == second["code"] == "Success", first
    assert {**left, "is_tidy": True} == TIDY
