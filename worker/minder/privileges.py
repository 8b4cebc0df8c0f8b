"""Give up what a process may do: its user, its capabilities, and ever getting them back."""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "KEPT_OF_ROOT",
    "become_user",
    "bound_capabilities",
    "check_no_way_back",
    "drop_capabilities",
    "forbid_new_privileges",
]

PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = 64

# What root keeps under Landlock: what installers and file trees of several owners need. None of these
# leads around Landlock, as raw disks, kernel modules, mounts and looking into processes would:
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, NET_RAW.
KEPT_OF_ROOT = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10, 13))

LIBC = ctypes.CDLL(None, use_errno=True)


def become_user(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Become another user, for good.

    Raises:
        OSError: this process may not.
    """
    if (os.getresuid(), os.getresgid()) == ((uid,) * 3, (gid,) * 3) and uid != 0:
        return
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def check_no_way_back() -> None:
    """Make sure that this process cannot become root; try it after everything was given up.

    Raises:
        OSError: it can.
    """
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise OSError("this process could become root again")


def bound_capabilities(keep: int = 0) -> None:
    """Take capabilities out of what any program below may ever get, as far as this process may do that.

    Without CAP_SETPCAP it may not; then no_new_privs alone keeps them away.
    """
    for bit in range(CAPABILITIES):
        if not keep >> bit & 1 and prctl(PR_CAPBSET_READ, bit) == 1:
            prctl(PR_CAPBSET_DROP, bit)


def drop_capabilities(keep: int = 0) -> None:
    """Give up every capability of this process but some.

    Raises:
        OSError: the kernel refuses.
    """
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    held = ctypes.create_string_buffer(24)
    check(LIBC.capget(header, held), "capget")
    low, high = permitted(held.raw)
    low, high = low & keep & 0xFFFFFFFF, high & keep >> 32
    check(LIBC.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def permitted(raw: bytes) -> tuple[int, int]:
    """Return the permitted set as capget(2) gives it: effective, permitted, inheritable, twice."""
    words = struct.unpack("=6I", raw)
    return words[1], words[4]


def forbid_new_privileges() -> None:
    """Keep set-user-ID programs and file capabilities from raising anybody below (no_new_privs).

    Raises:
        OSError: the kernel refuses.
    """
    check(prctl(PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")


def prctl(option: int, value: int) -> int:
    """Set or ask for an attribute of this process; -1 where it fails."""
    answer: int = LIBC.prctl(
        option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    return answer


def check(answer: int, what: str) -> None:
    """Raise what a call said, if it failed."""
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
