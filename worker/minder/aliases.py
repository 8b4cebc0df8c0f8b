"""Find the other names of a path: what mounts show once more elsewhere.

Landlock goes by the file, not by its name. What is hidden under one name is open under another that is
allowed, and a folder that is allowed under one name is open under all. A bind mount, a volume mounted
twice or in parts, and the machine's root in a container give such names.

Format: proc_pid_mountinfo(5). Mounts that are made later are not known.
"""

from __future__ import annotations

import os

from worker.minder.files import read_text
from worker.minder.hierarchy import is_below, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Mount", "mounts", "other_names", "with_aliases"]

MOUNTINFO = "/proc/self/mountinfo"
OPEN = ~0  # all rights
MOST_BYTES = 16 * 1024 * 1024  # some ten thousand mounts


class Mount:
    """One mount: which part (`within`) of which file system (`device`) it shows, and where (`point`)."""

    __slots__ = ("device", "point", "within")

    def __init__(self, device: str, within: str, point: str) -> None:
        self.device, self.within, self.point = device, within, point


def mounts() -> list[Mount]:
    """Return the mounts that this process can see.

    Raises:
        OSError: they cannot be read.
    """
    text = read_text(MOUNTINFO, MOST_BYTES)
    if not text:
        raise OSError(f"landlock: {MOUNTINFO} cannot be read, so what is hidden could have other names")
    fields = (line.split(" ", 5) for line in text.splitlines())
    return [Mount(field[2], plain(field[3]), plain(field[4])) for field in fields]


def with_aliases(
    special: Mapping[str, int], known: list[Mount], parted: Iterable[str] = ()
) -> tuple[dict[str, int], set[str]]:
    """Return the rights of paths and of their other names, and further folders not to be allowed as a whole.

    Where rights of the same files differ, the fewest count: a hidden file has no open name. What is
    mounted in a hidden folder is hidden wherever else it is mounted, and so is a mount of a part of it.

    Args:
        special: real paths, each with its rights.
        known: the mounts.
        parted: further folders that are not allowed as a whole.
    """
    found, ways = dict(special), set()
    inner = {mount.point: 0 for mount in known if nearest(mount.point, special) == 0}
    pending = list({**special, **inner, **dict.fromkeys(parted, 0)})
    for path in pending:  # which grows: other names have other names
        for original, alias, is_same in other_names(path, known):
            mask = nearest(original, found)
            if is_same and mask is None and original != path:
                continue  # a part of a folder that is only on the way
            if not is_same or mask is None:
                ways.add(alias)
            elif mask == OPEN or mask != nearest(alias, found):
                found[alias] = found.get(alias, mask) & mask
            if alias not in pending:
                pending.append(alias)
    return found, ways


def other_names(path: str, known: list[Mount]) -> Iterator[tuple[str, str, bool]]:
    """Yield the other names of a path, of its parts that are mounted, and of what is on the way to it.

    Yields:
        A path that is this one or below, its other name, and whether it is the same file. If it is not,
        the name is that of a folder that a mount on the way to the path covers, or nothing is there yet.
    """
    holders = sorted(
        (mount for mount in known if is_below(path, mount.point)), key=lambda mount: len(mount.point)
    )
    covers = [mount.point for mount in holders[1:]]
    for holder, cover in zip(holders, [*covers, path], strict=True):
        for original, alias, _ in shown_by(holder, path, known):
            if is_same_file(original, alias):
                yield original, alias, True
        for original, alias, point in shown_by(holder, cover, known):
            if original == cover and not is_same_file(cover, alias) and shares(cover, alias, point):
                yield path, alias, False


def shown_by(holder: Mount, path: str, known: list[Mount]) -> Iterator[tuple[str, str, str]]:
    """Yield what other mounts show of a path on a mount, or of its parts: path, other name, mount's place."""
    place = joined(holder.within, path, holder.point)
    for mount in known:
        if mount.device != holder.device:
            continue
        if is_below(place, mount.within):
            original, alias = path, joined(mount.point, place, mount.within)
        elif is_below(mount.within, place):
            original, alias = joined(path, mount.within, place), mount.point
        else:
            continue
        if alias != original:
            yield original, alias, mount.point


def shares(path: str, alias: str, point: str) -> bool:
    """Tell whether two paths meet somewhere: some file systems call the roots of all their mounts `/`."""
    while not is_same_file(path, alias):
        if alias in {point, "/"} or path == "/":
            return False
        path, alias = os.path.dirname(path), os.path.dirname(alias)
    return True


def is_same_file(one: str, other: str) -> bool:
    """Tell whether two names are of one file; not where one of them cannot be looked at."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def nearest(path: str, rights: Mapping[str, int]) -> int | None:
    """Return the rights of a path, or of the nearest folder that has any; None where none has."""
    while path not in rights:
        if path == "/":
            return None
        path = os.path.dirname(path)
    return rights[path]


def joined(base: str, path: str, start: str) -> str:
    """Return a path below `start` as it is called below `base`."""
    rest = path[len(start.rstrip("/")) :].strip("/")
    return os.path.join(base, rest) if rest else base
