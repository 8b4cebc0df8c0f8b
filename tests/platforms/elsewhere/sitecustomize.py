"""Make this interpreter as one on macOS, as far as Linux can: what only Linux has is taken away.

Taken in by PYTHONPATH, in child processes too. It shows what our code asks of the system; it is no Mac.
"""

# What it does to modules has no types:
# mypy: ignore-errors

import builtins
import ctypes
import io
import os
import select
import selectors
import signal
import socket
import sys
import sysconfig
import time
import types

import psutil  # noqa: F401 - its native part is that of the real system

HIDDEN = ("/proc", "/sys", "/dev/shm")
# In Python's documentation: "Availability: Linux", or not on macOS.
GONE = {
    os: (
        "pidfd_open", "memfd_create", "eventfd", "sched_getaffinity", "sched_setaffinity", "posix_fallocate",
        "fdatasync", "pipe2", "O_PATH", "O_TMPFILE", "listxattr", "getxattr", "setxattr", "removexattr",
        "copy_file_range", "splice", "getrandom", "P_PIDFD", "waitid", "setns", "unshare", "accept4",
        "getresuid", "getresgid", "setresuid", "setresgid", "posix_fadvise",
    ),
    select: ("epoll",),
    signal: ("sigtimedwait", "sigwaitinfo", "pidfd_send_signal", "SIGRTMIN", "SIGRTMAX", "SIGPWR"),
    socket: ("SO_PEERCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "AF_NETLINK"),
    time: ("CLOCK_BOOTTIME", "CLOCK_TAI", "clock_getcpuclockid", "pthread_getcpuclockid"),
}  # fmt: skip


class Libc(ctypes.CDLL):
    """A C library without the calls of Linux."""

    def __getattr__(self, name):
        if name in {"prctl", "unshare", "setns", "pidfd_open"}:
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        if name == "syscall":  # macOS has one, with numbers of its own
            return no_call
        return super().__getattr__(name)


def no_call(*_):
    """Fail as a call with the numbers of another system must be taken to."""
    raise AssertionError("syscall() with a number of Linux, elsewhere")


def hide(function):
    """Return a function of the system that finds no folder of Linux' kernel."""

    def hiding(path=".", *args, **kwargs):
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(HIDDEN):
            raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))
        return function(path, *args, **kwargs)

    return hiding


sysconfig.get_config_vars()  # of the real system, and kept
for module, names in GONE.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink", "access"):
    setattr(os, name, hide(getattr(os, name)))
builtins.open = io.open = hide(io.open)
ctypes.CDLL = Libc
selectors.DefaultSelector = selectors.PollSelector  # macOS has kqueue; epoll would be found here
proxies = types.ModuleType("_scproxy")  # urllib asks macOS for proxies
proxies._get_proxies = proxies._get_proxy_settings = dict
sys.modules["_scproxy"] = proxies
sys.platform = "darwin"
