"""A page of the documentation that a person follows at a terminal: files to save, commands, what is printed.

- A block ``python`` whose first line is ``# name.py`` is saved under that name.
- A block ``sh`` is typed; its exit code is 0, or the one that ``exit=1`` behind ``sh`` says.
- ``sh background`` is typed in a terminal of its own, and ends at the next **Ctrl-C** of the text.
- A block ``text`` stands in the output of the block before it, line by line and in order. Numbers with their
  units may be others; ``…`` stands for anything.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Block", "Terminal", "blocks", "missing"]

FENCE: Final = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$|(\*\*Ctrl-C\*\*)", re.MULTILINE | re.DOTALL)
ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07")
NUMBER: Final = re.compile(r"\d[\d.,:]*( (ms|s|min|h|B|KiB|MiB|GiB)\b)?")
LIMIT_S: Final = 120.0


class Block(NamedTuple):
    """One thing to do."""

    kind: str  # "python", "sh", "text" or "Ctrl-C"
    how: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Yield what a page has a person do, in order."""
    for match in FENCE.finditer(page):
        if match[4]:
            yield Block("Ctrl-C", "", "")
        else:
            yield Block(match[1], match[2], match[3])


def missing(expected: str, printed: str) -> str | None:
    """Return the first line that is not in what was printed, behind the lines before it; None: all are."""
    rest = iter([plain(line) for line in printed.splitlines()])
    for line in filter(None, map(plain, expected.splitlines())):
        wanted = re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))
        if not any(wanted.search(one) for one in rest):
            return line
    return None


def plain(line: str) -> str:
    """Return a line with its numbers and its spaces alike."""
    return " ".join(NUMBER.sub("#", line).split())


class Terminal:
    """A shell whose output goes to a terminal; commands find nothing on their input."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        """Open it."""
        self._screen, far = pty.openpty()
        self._shown = bytearray()
        self._shell = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=far, stderr=far, cwd=folder,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
        os.close(far)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._screen, 65536)
            except OSError:  # nobody writes any more
                return
            self._shown += part

    @property
    def shown(self) -> str:
        """What is on the screen, as plain text."""
        text = ESCAPE.sub("", bytes(self._shown).decode("utf-8", "replace"))
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def type(self, command: str) -> None:
        """Type a command and go on."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(command.encode())
        self._shell.stdin.flush()

    def run(self, command: str) -> tuple[int, str, str]:
        """Type a command and wait for its end; return its exit code, what it printed, and the folder then."""
        begun = len(self.shown)
        self.type(f'{{ {command}\n}} </dev/null; echo "@end $? $PWD"\n')
        self.wait_for(re.compile(r"^@end (\d+) (.*)\n", re.MULTILINE), begun)
        printed = self.shown[begun:]
        end = re.search(r"^@end (\d+) (.*)\n", printed, re.MULTILINE)
        assert end is not None
        return int(end[1]), printed[: end.start()], end[2]

    def wait_for(self, wanted: re.Pattern[str], begun: int = 0) -> None:
        """Wait until something is shown."""
        until = time.monotonic() + LIMIT_S
        while not wanted.search(self.shown, begun):
            assert time.monotonic() < until, f"after {LIMIT_S} s not shown: {wanted.pattern}\n{self.shown}"
            time.sleep(0.02)

    def wait_until_shown(self, expected: str) -> None:
        """Wait until a block of text is shown."""
        until = time.monotonic() + LIMIT_S
        while (line := missing(expected, self.shown)) is not None:
            assert time.monotonic() < until, f"after {LIMIT_S} s not shown: {line}\n{self.shown}"
            time.sleep(0.05)

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait until it ended; return its exit code."""
        os.killpg(self._shell.pid, signal.SIGINT)
        try:
            return self._shell.wait(LIMIT_S)
        finally:
            self.close()

    def close(self) -> None:
        """End the shell and whatever runs in it."""
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGTERM)
            self._shell.wait(LIMIT_S)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._reader.join(LIMIT_S)
        os.close(self._screen)
