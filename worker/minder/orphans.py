"""Reap the orphans that became children of this process, when one has died: nothing else tells of them.

SIGCHLD tells; who looked once a second instead would wake an idle machine as often.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from worker.minder.child import NEVER_S
from worker.minder.trees import reap_orphans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container
    from types import FrameType

__all__ = ["Orphans"]

EVERY_S = 1.0  # at most; those that ended fill the table of processes while their child goes on
ONCE_BYTES = 64 * 1024  # all that a pipe holds of signals


class Orphans:
    """When to reap. Use it on the main thread, once in a process; what is started hears no signal of it."""

    def __init__(self, poll: select.poll) -> None:
        """Begin to hear, by what the process waits with."""
        self._poll = poll
        self._died, far = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(far, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, hear)
        poll.register(self._died, select.POLLIN)
        self._reaped_at_s = -NEVER_S
        self.due_s = NEVER_S  # the next time to call `reap`

    def hear(self, ready: Container[int]) -> None:
        """Take what can be read: some child has died. Until it is reaped, no other one wakes the process."""
        if self._died in ready:
            self._poll.unregister(self._died)
            self.due_s = self._reaped_at_s + EVERY_S

    def reap(self, now_s: float, known: Collection[int]) -> None:
        """Reap those that ended, where it is time to; who is known is waited for elsewhere."""
        if now_s < self.due_s:
            return
        with contextlib.suppress(BlockingIOError):
            os.read(self._died, ONCE_BYTES)  # before the look: who dies after that tells again
        reap_orphans(known)
        self._reaped_at_s, self.due_s = now_s, NEVER_S
        self._poll.register(self._died, select.POLLIN)


def hear(number: int, frame: FrameType | None) -> None:
    """Do nothing: but a signal that nobody handles wakes nobody."""
