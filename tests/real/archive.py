"""A root file system for a kernel to boot: what a program of ours needs of this machine, as an archive.

Format: "newc" of cpio, which Linux unpacks at boot (early-userspace/buffer-format.rst of its documentation).
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["needed_files", "write_archive"]

# Of the standard library; they are large, and nothing of ours imports them.
LEFT_OUT: Final = frozenset(
    {"test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo", "site-packages"}
)
PROGRAMS: Final = ("/bin/sh",)
MERGED: Final = ("bin", "lib", "lib64", "sbin")  # links to folders of /usr


def needed_files(
    project: Path,
    distributions: Iterable[str],
    folders: Iterable[str] = (),
    programs: Iterable[Path] = (),
) -> set[Path]:
    """Return interpreter, standard library, project and distributions, with the libraries that they load.

    `folders` are further ones of the project, `programs` further ones of this machine.
    """
    python = Path(sys.executable)
    library = Path(sysconfig.get_path("stdlib"))
    found = {Path(name) for name in PROGRAMS} | {python, *links_of(python), Path(sys.prefix, "pyvenv.cfg")}
    found |= {path for path in below(library) if is_needed(path.relative_to(library))}
    found |= {
        path
        for folder in ("worker", "tests", "handlers", "millhand_pytest", *folders)
        for path in below(project / folder)
    }
    found |= {project / "pyproject.toml", *programs}
    found |= {path for one in closure(distributions) for path in files_of(one)}
    found |= set(shared_libraries(found))
    return found | {target for path in found for target in links_of(path)}


def is_needed(path: Path) -> bool:
    """Tell whether a file of the standard library may be imported."""
    return LEFT_OUT.isdisjoint(path.parts) and not path.parts[0].startswith("config-")


def below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def links_of(path: Path) -> Iterator[Path]:
    """Yield what a chain of links leads over."""
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def closure(names: Iterable[str]) -> list[Distribution]:
    """Return installed distributions, named as in requirements, with those that they need."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", waiting.pop())[0]).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another platform, or an extra that is not installed
            continue
        waiting += [need for need in found[name].requires or () if "extra ==" not in need]
    return list(found.values())


def files_of(installed: Distribution) -> Iterator[Path]:
    """Yield the files of a distribution, and what makes an editable one be found."""
    for path in installed.files or ():
        where = Path(str(installed.locate_file(path))).resolve()
        if where.is_file():
            yield where


def shared_libraries(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the libraries that programs and extension modules load, and the program that loads them."""
    binaries = [str(path) for path in paths if ".so" in path.name or os.access(path, os.X_OK)]
    listing = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    for name in set(re.findall(r"(?:=> |^\t)(/\S+) \(", listing, re.MULTILINE)):
        yield Path(name)


def write_archive(out: BinaryIO, files: Iterable[Path], more: dict[str, bytes]) -> None:
    """Write files at their own places, and further ones that are programs, with the folders above them."""
    entries: dict[str, Path | bytes] = dict(more)
    for path in files:
        plain = path.parent.resolve() / path.name  # a merged /usr: /lib is only a link there
        entries[str(plain)] = path
    folders = {str(parent) for name in entries for parent in Path("/", name).parents} - {"/"}
    numbers = count(1)
    for name in sorted(folders):
        write_entry(out, name, stat.S_IFDIR | 0o755, b"", number=next(numbers))
    links = {f"/{name}": Path("/", name) for name in MERGED if Path("/", name).is_symlink()}
    for name, source in {**links, **entries}.items():
        number = next(numbers)
        if isinstance(source, bytes):
            write_entry(out, name, stat.S_IFREG | 0o755, source, number=number)
        elif source.is_symlink():
            write_entry(out, name, stat.S_IFLNK | 0o777, bytes(source.readlink()), number=number)
        else:
            status = source.stat()
            mtime = int(status.st_mtime)  # kept, so that compiled modules are not stale
            write_entry(out, name, status.st_mode, source.read_bytes(), number=number, mtime=mtime)
    write_entry(out, "TRAILER!!!", 0, b"")


def write_entry(
    out: BinaryIO, name: str, mode: int, content: bytes, *, number: int = 0, mtime: int = 0
) -> None:
    """Write one file, folder or link; those of one number are one file."""
    encoded = os.fsencode(name.lstrip("/")) + b"\0"
    fields = (number, mode, 0, 0, 1, mtime, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    for part in (header + encoded, content):
        out.write(part + b"\0" * (-len(part) % 4))
