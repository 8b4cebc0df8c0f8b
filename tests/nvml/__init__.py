"""GPUs that are not there: a stand-in for NVML's library, and the file that says what it tells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["GIB", "FakeNvml", "gpu"]

SOURCE = Path(__file__).with_name("fake_nvml.c")
GIB = 1024**3


class FakeNvml:
    """NVML in a folder: programs that are given `environment` find it there, as the loader does."""

    def __init__(self, folder: Path) -> None:
        """Build it. Skips the test where there is no compiler."""
        if shutil.which("gcc") is None:
            pytest.skip("gcc is needed to build the stand-in of NVML")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        built = folder / "libnvidia-ml.so.1"
        subprocess.run([*command, "-o", built, SOURCE, "-ldl"], check=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """What a program must have in its environment to find it."""
        return {"LD_LIBRARY_PATH": str(self.folder)}

    def put(self, text: str) -> None:
        """Say how everything is from now on; see fake_state.h for the words."""
        part = self.folder / "state.part"
        part.write_text(text)
        part.replace(self.state)  # a reader sees all of it or all of the one before

    def add(self, *lines: str) -> None:
        """Say more than is said now."""
        self.put("\n".join([*self.state.read_text().splitlines(), *lines]) + "\n")

    def take_back(self, line: str) -> None:
        """Say a line no more."""
        self.put("\n".join(one for one in self.state.read_text().splitlines() if one != line) + "\n")

    def environment_here(self) -> dict[str, str]:
        """This process's environment, with it."""
        return os.environ | self.environment


def gpu(number: int, *more: str, name: str = "NVIDIA L4", gib: int = 24) -> str:
    """Return the lines of a healthy GPU with no process on it; `more` are further words of it."""
    words = (f"uuid GPU-{number + 1}", f"name {name}", f"memory {gib * GIB} 0", *more)
    return "".join(f"gpu {number} {word}\n" for word in words)
