"""Wheels for tests: the locked libraries as they are installed here, this project, and packages made up.

With a folder of these, ``pip install`` does what it does for everybody, and asks nobody.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

from worker.executor.installed import normal_name

__all__ = ["PROJECT", "build_wheel", "make_wheel", "pack_libraries", "pip_settings", "requirements_of"]

PROJECT = "millhand"
NOT_NEEDED = {"..", "__pycache__", "tests"}  # parts of paths: programs, and what only costs time
NOT_CARRIED = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}  # a wheel has none, or its own


def pip_settings(shelf: Path) -> dict[str, str]:
    """Return the variables by which pip takes everything from a folder of wheels, and from nowhere else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {
        **kept, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_NO_COMPILE": "1",
    }  # fmt: skip


def pack_libraries(shelf: Path, *roots: str) -> None:
    """Put a wheel of each of these libraries into a folder, and of all that they require."""
    left, packed = [*roots], {normal_name(PROJECT)}
    while left:
        name = normal_name(left.pop())
        if name in packed:
            continue
        packed.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another system or Python
        pack(found, shelf)
        left += requirements_of(found)


def requirements_of(found: Distribution, *extras: str) -> list[str]:
    """Return the names of what a package requires, with some of its extras."""
    wanted = re.compile(rf"extra == '({'|'.join(extras)})'") if extras else None
    return [
        re.split(r"[^\w.-]", line, maxsplit=1)[0]
        for line in found.requires or ()
        if "extra ==" not in line or (wanted is not None and wanted.search(line.replace('"', "'")))
    ]


def pack(found: Distribution, shelf: Path) -> None:
    """Write a wheel of what is installed; its programs are made anew by whoever installs it."""
    tag = next(
        line.partition(": ")[2]
        for line in (found.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag:")
    )
    name = f"{found.name.replace('-', '_').replace('.', '_').lower()}-{found.version}"
    files = [file for file in found.files or () if NOT_NEEDED.isdisjoint(file.parts)]
    with ZipFile(shelf / f"{name}-{tag}.whl", "w") as wheel:
        for file in files:
            if file.name not in NOT_CARRIED:
                wheel.write(str(file.locate()), str(file))
        info = next(file.parts[0] for file in files if file.parts[0].endswith(".dist-info"))
        write_record(wheel, info)


def write_record(wheel: ZipFile, info: str) -> None:
    """Write the list of what a wheel holds, as its last file; hashes are voluntary."""
    record = f"{info}/RECORD"
    wheel.writestr(record, "".join(f"{name},,\n" for name in [*wheel.namelist(), record]))


def build_wheel(project: Path, folder: Path) -> Path:
    """Build a project's wheel as `make wheel` does, and return it."""
    folder.mkdir(exist_ok=True)
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    built = subprocess.run([*command, str(project)], capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = set(folder.glob("*.whl")) - before
    return wheel


def make_wheel(
    shelf: Path,
    name: str,
    files: Mapping[str, str],
    *,
    handlers: Mapping[str, str],
    requires: Iterable[str] = (),
) -> Path:
    """Write a wheel of some files, which declares handlers, and return it."""
    path, info = shelf / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    points = "".join(f"{type_} = {target}\n" for type_, target in handlers.items())
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", f"[millhand.handlers]\n{points}")
        write_record(wheel, info)
    return path
