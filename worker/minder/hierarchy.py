"""Find one's own control group: cgroup v1, v2 and both at once, with and without a cgroup namespace.

Formats: cgroups(7) for `/proc/self/cgroup`, proc_pid_mountinfo(5) for the mounts. `root` stands for `/`,
so that recorded trees can be read.
"""

from __future__ import annotations

import os
import re

from worker.minder.files import read_text

__all__ = ["NoCgroup", "find_hierarchy", "find_unified"]


class NoCgroup(Exception):  # noqa: N818 - a finding, turned into a reason
    """The own cgroup of a controller cannot be told; the text says why."""


class Mount:
    """One mounted cgroup hierarchy: which part of it (`within`) is seen at which `point`."""

    __slots__ = ("controllers", "point", "version", "within")

    def __init__(self, version: int, within: str, point: str, controllers: frozenset[str]) -> None:
        """Set the values; controllers are those of v1."""
        self.version = version
        self.within = within
        self.point = point
        self.controllers = controllers


def find_hierarchy(controller: str, root: str = "/") -> tuple[int, list[str]]:
    """Return where a controller of this process is: its v1 hierarchy if it has one, else v2.

    Returns:
        The version, and the folders of the own group: it first, then those above it, the mount's last.

    Raises:
        NoCgroup: there are no cgroups here, or the mount does not show ours.
    """
    version, path = own_path(controller, read(root, "proc/self/cgroup"))
    mounts = [
        mount
        for mount in parse_mounts(read(root, "proc/self/mountinfo"))
        if mount.version == version and (version == 2 or controller in mount.controllers)
    ]
    if not mounts:
        what = f" with {controller}" if controller else ""
        raise NoCgroup(f"no cgroup v{version} file system{what} is mounted")
    mount = max(mounts, key=lambda mount: (is_below(path, mount.within), len(mount.within)))
    return version, folders(mount, path, root)


def find_unified(root: str = "/") -> list[str]:
    """Return the own folders in v2, whatever controllers it has; on hybrid hosts it may have none.

    Raises:
        NoCgroup: as above.
    """
    return find_hierarchy("", root)[1]


def own_path(controller: str, text: str) -> tuple[int, str]:
    """Return the version and the path of the own cgroup; a v1 line wins, as the kernel has it.

    A controller is in one hierarchy only: on hybrid hosts the `0::` line of v2 is there as well, but
    without the controllers that v1 holds.
    """
    unified = None
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if line.startswith("0::"):
            unified = path
        elif controller and controller in controllers.split(","):
            return 1, path
    if unified is None:
        what = controller or "v2"
        raise NoCgroup(f"/proc/self/cgroup names no cgroup for {what}")
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


def folders(mount: Mount, path: str, root: str) -> list[str]:
    """Return the own folder and those above it, up to the mount.

    A container of cgroup v1 without a namespace of its own sees the host's path, but mounts only its own
    part: the path does not exist below the mount, and the mount itself is the own cgroup.
    """
    if mount.within.startswith("/.."):
        raise NoCgroup(
            f"{mount.point} shows cgroups above our own namespace, and ours cannot be told among them"
        )
    names = [name for name in path[len(mount.within) :].split("/") if name]
    if not is_below(path, mount.within):
        names = []
    if ".." in names:
        raise NoCgroup(f"the own cgroup {path} is outside of what {mount.point} shows")
    point = os.path.join(root, mount.point.lstrip("/"))
    chain = ["/".join([point, *names[:depth]]) for depth in range(len(names), -1, -1)]
    found = [folder for folder in chain if os.path.isdir(folder)]
    if not found:
        raise NoCgroup(f"{mount.point} is not readable")
    return found


def is_below(path: str, within: str) -> bool:
    """Tell whether a cgroup path lies in the part that a mount shows."""
    return f"{path}/".startswith(f"{within.rstrip('/')}/")


def plain(text: str) -> str:
    """Undo the octal escapes of mountinfo, where a space is written as its code 040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def read(root: str, name: str) -> str:
    """Return a file of /proc, or raise `NoCgroup` with the reason."""
    text = read_text(os.path.join(root, name))
    if text is None:
        raise NoCgroup(f"/{name} could not be read")
    return text
