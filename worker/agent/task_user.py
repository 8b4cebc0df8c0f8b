"""The user that handlers run as: looked up, allowed to the agent, and able to reach what it needs."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final

from worker.executor.confinement import TaskUser

__all__ = ["NEEDED_CAPABILITIES", "find_user", "missing_capabilities", "obstacle"]

# What the agent needs to run handlers as another user, by their bits (capabilities(7)).
NEEDED_CAPABILITIES: Final = {
    "CAP_CHOWN": 0,  # the run's folder is given to it
    "CAP_DAC_OVERRIDE": 1,  # the files in it are stored, and removed
    "CAP_KILL": 5,  # its processes are ended
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_PTRACE": 19,  # its processes are measured, and found by their mark when the minder was killed
}
ACCESS_LIST: Final = "system.posix_acl_access"  # acl(5): grants that mode bits do not show


def find_user(name: str, made_home: Path) -> TaskUser:
    """Look a user up by name, or by number.

    Args:
        name: as in the system's user database.
        made_home: its home where its own is not there (as for `nobody`).

    Raises:
        ValueError: there is none, or it is root.
    """
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise ValueError(
            f"task_user: there is no user {name!r} on this machine; make one: useradd --system {name}"
        ) from None
    if entry.pw_uid == 0:
        raise ValueError("task_user: handlers as root reach everything; name a user that may do little")
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    home = Path(entry.pw_dir)
    return TaskUser(
        entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups), home if home.is_dir() else made_home
    )


def missing_capabilities(status: str | None = None) -> list[str]:
    """Return what this process lacks to run handlers as another user; empty where it may.

    Args:
        status: the text of /proc/self/status; read by default.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8") if status is None else status
    except OSError:  # no Linux: root may everything
        return [] if os.geteuid() == 0 else sorted(NEEDED_CAPABILITIES)
    held = next((int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff:")), 0)
    return [name for name, bit in NEEDED_CAPABILITIES.items() if not held >> bit & 1]


def obstacle(user: TaskUser, path: Path) -> str | None:
    """Say what keeps a user from reading a file, or from using a folder; None where nothing does."""
    real = path.resolve()
    for folder in reversed(real.parents):
        if (said := refusal(user, folder, stat.S_IXOTH)) is not None:
            return said
    try:
        is_folder = stat.S_ISDIR(real.stat().st_mode)
    except OSError as exc:
        return f"{real}: {exc.strerror}"
    return refusal(user, real, stat.S_IROTH | (stat.S_IXOTH if is_folder else 0))


def refusal(user: TaskUser, path: Path, wanted: int) -> str | None:
    """Say why a user lacks rights at one path; rights as the bits for others."""
    try:
        state = path.stat()
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    if rights_of(user, state) & wanted == wanted or has_access_list(path):
        return None
    what = "passed" if wanted == stat.S_IXOTH else "read"
    owner = f"{name_of_user(state.st_uid)}:{name_of_group(state.st_gid)}"
    return f"{path} cannot be {what} by {user.name} ({stat.filemode(state.st_mode)} {owner})"


def rights_of(user: TaskUser, state: os.stat_result) -> int:
    """Return what a user may do with a file, as the bits for others."""
    if state.st_uid == user.uid:
        return state.st_mode >> 6 & 7
    if state.st_gid in {user.gid, *user.groups}:
        return state.st_mode >> 3 & 7
    return state.st_mode & 7


def has_access_list(path: Path) -> bool:
    """Tell whether more than the mode bits decides; then the attempt must show it."""
    try:
        return ACCESS_LIST in os.listxattr(path)
    except OSError:
        return False


def name_of_user(uid: int) -> str:
    """Return the name of a user, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def name_of_group(gid: int) -> str:
    """Return the name of a group, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
