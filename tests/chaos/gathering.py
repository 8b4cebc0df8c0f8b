"""An agent that gathers writes for some milliseconds, and sends several at once again soon after a failure.

Else most writes of a world of a few tasks go alone, and after the first fault all of them do for a minute.
"""

from __future__ import annotations

import asyncio
from typing import Final

from worker.api import batches, connect
from worker.api.connection import Connection
from worker.cli.main import main

MOMENT_S: Final = 0.03  # about how far apart the writes of two slots are
REST_S: Final = 0.2


class Gathering(batches.Batches):
    """What gathers them."""

    def __init__(self, connection: Connection) -> None:
        """Rest for a moment only."""
        super().__init__(connection, rest_s=REST_S)

    def _gather(self) -> None:
        asyncio.get_running_loop().call_later(MOMENT_S, self._flush)


if __name__ == "__main__":
    setattr(connect, "Batches", Gathering)  # noqa: B010 - a program of its own: nothing is put back
    main()
