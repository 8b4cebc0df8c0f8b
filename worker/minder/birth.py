"""Start a child: fork, confine, exec."""

from __future__ import annotations

import ctypes
import os
import signal

from worker.minder.confine import confine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["CHANNEL_FD", "become_subreaper", "give_birth"]

CHANNEL_FD = 3  # where a child finds its channel
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MAX_ERROR_BYTES = 4096

LIBC = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Have orphans below this process become its children, so that none escapes (Linux ≥ 3.4).

    Raises:
        OSError: the kernel refuses; then nothing may be started.
    """
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this process cannot become a subreaper")


def give_birth(order: dict[str, Any], descriptors: Sequence[int], join_files: Sequence[str]) -> int:
    """Start what an order asks for, in a session of its own; return its pid.

    Args:
        order: argv, env and wish of `worker.minder.wire`.
        descriptors: channel, stdout and stderr of the child; stay open here.
        join_files: ``cgroup.procs`` of the groups that it joins before it does anything.

    Raises:
        OSError: the system refuses, or a step of the confinement failed; the message says which.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            become(order, descriptors, join_files, writing)
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    os.close(writing)
    error = read_all(reading)
    if error:
        os.waitpid(pid, 0)
        raise OSError(error.decode(errors="replace"))
    return pid


def become(
    order: dict[str, Any], descriptors: Sequence[int], join_files: Sequence[str], error_fd: int
) -> None:
    """Turn this forked process into the child; never returns."""
    try:
        os.setsid()
        LIBC.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        for path in join_files:
            write_text(path, "0")
        error_fd = place(descriptors, error_fd)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        confine(order.get("wish") or {})
        # A change of the user clears it; and the minder may have gone meanwhile, which the child looks at.
        LIBC.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - no shell is wanted
    except BaseException as exc:  # noqa: BLE001 - whatever it is, this copy of the minder must end here
        os.write(error_fd, f"{exc}".encode()[:MAX_ERROR_BYTES] or b"unknown")
    finally:
        os._exit(1)


def place(descriptors: Sequence[int], error_fd: int) -> int:
    """Put the descriptors where the child expects them; return the new place of the one for errors."""
    free = 10  # above every target, so that no copy overwrites one that is still needed
    nothing = os.open(os.devnull, os.O_RDONLY)
    moved = []
    for descriptor in (nothing, *descriptors[1:], descriptors[0], error_fd):
        while free in (nothing, *descriptors, error_fd):
            free += 1
        moved.append(os.dup2(descriptor, free, inheritable=False))
        free += 1
    for target, source in enumerate(moved[:4]):
        os.dup2(source, target)
    return moved[4]


def write_text(path: str, text: str) -> None:
    """Write to a file of a control group."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """Read to the end, bounded, and close."""
    try:
        return os.read(descriptor, MAX_ERROR_BYTES)  # one write, or the end
    finally:
        os.close(descriptor)
