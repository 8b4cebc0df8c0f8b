"""Hide paths from a process and from all that it starts, without any privilege (landlock(7)).

Landlock can only allow. So a path is hidden by allowing everything beside it: each entry of each folder
on the way to it, but for the way itself. What is made in those folders later is not allowed either,
which is why hidden files best lie in folders of their own.

Listing and `stat` stay as they are; a hidden file can be neither opened, run, cut, made, removed,
renamed, moved nor linked. A process under Landlock cannot look into processes outside either
(ptrace(2): memory, environment and descriptors), nor mount anything, nor signal them (ABI 6).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from worker.minder.aliases import mounts, nearest, with_aliases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import NoReturn

__all__ = ["MIN_ABI", "abi", "check_hidden", "make_ruleset", "restrict"]

# The numbers are the same on every architecture (include/uapi/asm-generic/unistd.h).
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

# Rights of include/uapi/linux/landlock.h, and the ABI that knows them first.
EXECUTE, WRITE_FILE, READ_FILE = 1 << 0, 1 << 1, 1 << 2
CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))  # remove and make entries of every kind
REFER = 1 << 13  # ABI 2: move or link into another folder
TRUNCATE = 1 << 14  # ABI 3
READ_ONLY = EXECUTE | READ_FILE
EVERYTHING = ~0
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1  # ABI 6

MIN_ABI = 2  # before, nothing can be moved or linked between folders at all, which breaks too much
WITHOUT_DISKS = frozenset({"/dev/hugepages", "/dev/mqueue", "/dev/pts", "/dev/shm"})  # noqa: S108
RULES_MAX = 65_536  # a folder with more entries than this beside a hidden path costs too much at each start
OPEN_ROOT = "the root of this process (a chroot?) lies in a folder that is mounted in it as well; move it"
TODO = "take landlock out of the hardening setting, or boot a kernel ≥ 5.19 with landlock in its lsm= list"

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def abi() -> int:
    """Return the version of Landlock that this kernel offers; 0 where it offers none.

    Seccomp filters of containers may refuse the call; that counts as none.
    """
    try:
        return call(SYS_CREATE_RULESET, 0, 0, CREATE_RULESET_VERSION)
    except OSError:
        return 0


def make_ruleset(hide: Iterable[str], keep: Iterable[str], read: Iterable[str], *, no_disks: bool) -> int:
    """Return the descriptor of a ruleset; nothing is restricted yet.

    Args:
        hide: absolute paths of files and folders that are out of reach; they need not exist.
        keep: folders below hidden ones, that can be used all the same.
        read: files and folders that can be read and run, but not changed.
        no_disks: block devices are out of reach too; what belongs to root can read them.

    Raises:
        OSError: the kernel has no Landlock, or the mounts, or something on the way to a path, cannot be
            looked at.
    """
    known = abi()
    if known < MIN_ABI:
        raise OSError(errno.ENOSYS, f"landlock: this kernel offers {offered(known)}; {TODO}")
    rights = EXECUTE | WRITE_FILE | READ_FILE | CHANGE_FOLDER | REFER | (TRUNCATE if known >= 3 else 0)
    ruleset = create(rights, known)
    try:
        special, ways = with_aliases(masks(hide, keep, read), mounts(), ["/dev"] if no_disks else [])
        for count, (path, mask) in enumerate(openings(special, ways, no_disks=no_disks)):
            if count == RULES_MAX:
                raise OSError(f"landlock: more than {RULES_MAX} files lie beside what is to be hidden")
            allow(ruleset, path, rights & mask)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def restrict(ruleset: int) -> None:
    """Apply a ruleset to this thread, for good. Needs no_new_privs or CAP_SYS_ADMIN.

    Raises:
        OSError: the kernel refuses.
    """
    call(SYS_RESTRICT_SELF, ruleset, 0)


def check_hidden(hide: Iterable[str], keep: Iterable[str], read: Iterable[str]) -> None:
    """Try whether what was hidden is: open a file of each path, after `restrict`.

    It is not where the root is a chroot below a folder that is mounted in it as well: allowing that folder
    allows the root, and nothing in there tells where the root lies.

    Raises:
        OSError: a file could be opened.
    """
    special = masks(hide, keep, read)
    for path in [path for path, mask in special.items() if not mask]:
        if (file := hidden_file(path, special)) is not None and can_open(file):
            raise OSError(errno.EPERM, f"landlock: {path} cannot be hidden: {OPEN_ROOT}")


def can_open(file: str) -> bool:
    """Tell whether a file can be read."""
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def hidden_file(path: str, special: Mapping[str, int]) -> str | None:
    """Return a hidden path that is a file, or a file in it or in a folder of it; None if none is seen."""
    if os.path.isfile(path):
        return path
    inner = []
    for entry in hidden_entries(path, special):
        if entry.is_file(follow_symlinks=False):
            return entry.path
        inner.append(entry.path)
    further = (entry for folder in inner for entry in hidden_entries(folder, special))
    return next((entry.path for entry in further if entry.is_file(follow_symlinks=False)), None)


def hidden_entries(folder: str, special: Mapping[str, int]) -> Iterator[os.DirEntry[str]]:
    """Yield what is hidden in a folder; nothing if it is none, or not to be listed."""
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if nearest(entry.path, special) == 0)
    except OSError:
        return


def openings(
    special: Mapping[str, int], more_ways: Iterable[str] = (), *, no_disks: bool
) -> Iterator[tuple[str, int]]:
    """Yield what is allowed, each path with the rights below it: as few paths as can be.

    Args:
        special: real paths, each with the rights from there down; elsewhere everything is allowed.
        more_ways: folders that are not allowed as a whole, beside those on the way to special ones.
        no_disks: leave block devices out.
    """
    ways = {way for path in [*special, *more_ways] for way in parents(path)} | set(more_ways)
    if no_disks:
        ways |= {"/", "/dev"}
    pending = [("/", EVERYTHING)]
    while pending:
        path, mask = pending.pop()
        mask = special.get(path, mask)
        if path in ways:
            pending += [(inner, mask) for inner in entries(path, no_disks, ways)]
        elif mask:
            yield path, mask


def entries(folder: str, no_disks: bool, ways: set[str]) -> Iterator[str]:
    """Yield what lies in a folder; links are left out, for what counts is where they lead."""
    try:
        found = list(os.scandir(folder))
    except OSError:  # who may not list it knows no names in it
        return
    is_device_folder = no_disks and (folder + "/").startswith("/dev/")
    for entry in found:
        if entry.is_symlink():
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if no_disks and not is_folder and not entry.is_file(follow_symlinks=False) and is_disk(entry):
            continue
        if is_device_folder and is_folder and entry.path not in WITHOUT_DISKS:
            ways.add(entry.path)
        yield entry.path


def is_disk(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a block device."""
    try:
        return stat.S_ISBLK(entry.stat(follow_symlinks=False).st_mode)
    except OSError:  # gone meanwhile
        return True


def parents(path: str) -> Iterator[str]:
    """Yield the folders on the way to a path."""
    while path != "/":
        path = os.path.dirname(path)
        yield path


def masks(hide: Iterable[str], keep: Iterable[str], read: Iterable[str]) -> dict[str, int]:
    """Return the rights of each path, by its real name, which is what the kernel goes by."""
    special = {os.path.realpath(path): READ_ONLY for path in read}
    special |= {os.path.realpath(path): EVERYTHING for path in keep}
    return special | {os.path.realpath(path): 0 for path in hide}


def create(rights: int, known: int) -> int:
    """Make a ruleset that handles these rights, and the scopes where the kernel has them."""
    scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if known >= 6 else 0
    attributes = struct.pack("=QQQ", rights, 0, scopes)[: 24 if known >= 6 else 8]
    return call(SYS_CREATE_RULESET, attributes, len(attributes), 0)


def allow(ruleset: int, path: str, mask: int) -> None:
    """Allow rights for a file, or below a folder; what is gone meanwhile needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.EACCES, errno.ELOOP}:
            return
        raise
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            mask &= OF_FILES
        call(SYS_ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", mask, descriptor), 0)
    finally:
        os.close(descriptor)


def call(number: int, *arguments: int | bytes) -> int:
    """Do a system call.

    Raises:
        OSError: it failed.
    """
    plain = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments]
    answer: int = LIBC.syscall(ctypes.c_long(number), *plain)
    if answer < 0:
        fail(ctypes.get_errno())
    return answer


def fail(number: int) -> NoReturn:
    """Raise what a system call said."""
    raise OSError(number, f"landlock: {os.strerror(number)}")


def offered(known: int) -> str:
    """Say what there is."""
    return f"only version {known} of it" if known else "none, or a container's filter keeps it away"
