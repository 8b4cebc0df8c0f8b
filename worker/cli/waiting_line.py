"""One line that tells what is waited for: it changes in place on a terminal, else each new one is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.cli.terminal import Output

__all__ = ["Line", "waiting_line"]


class Line:
    """What was said last."""

    def __init__(self, write: Callable[[str], None], is_in_place: bool) -> None:
        """Nothing was said yet."""
        self._write = write
        self._is_in_place = is_in_place
        self._said = ""

    def say(self, line: str) -> None:
        """Say something; where lines stay, once for each thing that is waited for, not for each moment."""
        essence = line if self._is_in_place else line.partition(" to go")[0]
        if essence != self._said:
            self._said = essence
            self._write(line)


@contextmanager
def waiting_line(out: Output) -> Iterator[Line]:
    """Give the line until the end of the block."""
    console = out.console(stderr=True)
    if out.is_json or not console.is_terminal:
        yield Line(out.say, is_in_place=False)
        return
    with console.status("") as status:
        yield Line(lambda line: status.update(line.replace("[", r"\[")), is_in_place=True)
