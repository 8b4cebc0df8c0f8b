"""What a program printed: passed on, counted, searched for progress, the last lines kept for an error."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from handlers.programs.progress import ProgressReader
from worker import Context

__all__ = ["Printed"]

TAIL_LINES = 20  # how many of the last lines stand in an error
TAIL_CHARS = 500  # of each of them


class Printed:
    """Takes the lines of a program."""

    def __init__(
        self, ctx: Context, ratio_in: ProgressReader, pass_on: Callable[[str, str], None] | None = None
    ) -> None:
        """Begin; `pass_on` is given the stream and each line, by default it goes to the run's log."""
        self.count = 0
        self._ctx = ctx
        self._ratio_in = ratio_in
        self._pass_on = pass_on or (lambda stream, text: ctx.log(text, stream=stream))
        self._last: deque[str] = deque(maxlen=TAIL_LINES)

    def take(self, stream: str, text: str, is_overwritten: bool) -> None:
        """Take one line; a state of a progress bar tells progress and is not passed on."""
        ratio = self._ratio_in(text)
        if ratio is not None:
            self._ctx.progress(ratio, text.strip())
        if not is_overwritten:
            self.count += 1
            self._last.append(text[:TAIL_CHARS])
            self._pass_on(stream, text)

    def tail(self) -> str:
        """Return the last lines for an error."""
        return ":\n" + "\n".join(self._last) if self._last else ", and printed nothing"
