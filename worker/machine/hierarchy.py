"""Find one's own cgroup: cgroup v1, v2 and both at once, with and without a cgroup namespace.

Formats: cgroups(7) for `/proc/self/cgroup`, proc_pid_mountinfo(5) for the mounts. `root` stands for `/`,
so that recorded trees can be read.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

__all__ = ["Hierarchy", "NoCgroup", "find_hierarchy", "shown"]


class NoCgroup(Exception):  # noqa: N818 - a finding, turned into a reason
    """The own cgroup of a controller cannot be told; the text says why."""


class Hierarchy(NamedTuple):
    """The folders of one's own cgroup in one hierarchy, the own one first, the mount's last."""

    version: int  # 1 or 2
    folders: tuple[Path, ...]


class Mount(NamedTuple):
    """One mounted cgroup hierarchy: which part of it (`within`) is seen at which `point`."""

    version: int
    within: str
    point: str
    controllers: frozenset[str]  # v1 only


def find_hierarchy(controller: str, root: Path) -> Hierarchy:
    """Return where a controller of this process is: its v1 hierarchy if it has one, else v2.

    Raises:
        NoCgroup: there are no cgroups here, or the mount does not show ours.
    """
    version, path = own_path(controller, read(root / "proc/self/cgroup"))
    mounts = [
        mount
        for mount in parse_mounts(read(root / "proc/self/mountinfo"))
        if mount.version == version and (version == 2 or controller in mount.controllers)
    ]
    if not mounts:
        raise NoCgroup(f"no cgroup v{version} file system with {controller} is mounted")
    mount = max(mounts, key=lambda mount: (is_below(path, mount.within), len(mount.within)))
    return Hierarchy(version, folders(mount, path, root))


def own_path(controller: str, text: str) -> tuple[int, str]:
    """Return the version and the path of the own cgroup; a v1 line wins, as the kernel has it.

    A controller is in one hierarchy only: on hybrid hosts the `0::` line of v2 is there as well, but
    without the controllers that v1 holds.
    """
    unified = None
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return 1, path
        if line.startswith("0::"):
            unified = path
    if unified is None:
        raise NoCgroup(f"/proc/self/cgroup names no cgroup for {controller}")
    return 2, unified


def parse_mounts(text: str) -> list[Mount]:
    """Return the cgroup mounts of a mountinfo file."""
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(kind) < 3 or kind[0] not in {"cgroup", "cgroup2"}:
            continue
        version = 2 if kind[0] == "cgroup2" else 1
        mounts.append(Mount(version, plain(fields[3]), plain(fields[4]), frozenset(kind[2].split(","))))
    return mounts


def folders(mount: Mount, path: str, root: Path) -> tuple[Path, ...]:
    """Return the own folder and those above it, up to the mount.

    A container of cgroup v1 without a namespace of its own sees the host's path, but mounts only its own
    part: the path does not exist below the mount, and the mount itself is the own cgroup.
    """
    if mount.within.startswith("/.."):
        raise NoCgroup(
            f"{mount.point} shows cgroups above our own namespace, and ours cannot be told among them"
        )
    point = root / mount.point.lstrip("/")
    below = PurePosixPath(path).relative_to(mount.within) if is_below(path, mount.within) else PurePosixPath()
    if ".." in below.parts:
        raise NoCgroup(f"the own cgroup {path} is outside of what {mount.point} shows")
    chain = [point / below, *(point / parent for parent in below.parents)]
    found = tuple(dict.fromkeys(folder for folder in chain if folder.is_dir()))
    if not found:
        raise NoCgroup(f"{mount.point} is not readable")
    return found


def is_below(path: str, within: str) -> bool:
    """Tell whether a cgroup path lies in the part that a mount shows."""
    return PurePosixPath(path).is_relative_to(within)


def plain(text: str) -> str:
    """Undo the octal escapes of mountinfo, where a space is written as its code 040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def read(path: Path) -> str:
    """Return a file of /proc, or raise `NoCgroup` with the reason."""
    try:
        return path.read_text(errors="replace")
    except OSError as exc:
        raise NoCgroup(f"/proc/self/{path.name} could not be read: {exc.strerror}") from exc


def shown(path: Path, root: Path) -> str:
    """Return a path as the machine itself names it."""
    return "/" + str(path.relative_to(root))
