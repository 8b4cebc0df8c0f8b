"""What a person said: claim nothing. It holds until a person takes it back, also over a restart."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from worker.agent.holds import Holds
from worker.clock import Clock

__all__ = ["HOLDER", "Pause"]

HOLDER: Final = "operator"
FILE_NAME: Final = "paused.json"
REASON_CHARS_MAX: Final = 500
HINT: Final = "`millhand resume --agent` goes on"
log = structlog.get_logger()


class Kept(Struct, frozen=True):
    """What the file says."""

    reason: str
    since: datetime


class Pause:
    """The hold of a person, and the file that keeps it."""

    def __init__(self, holds: Holds, folder: Path, clock: Clock) -> None:
        """Hold nothing yet; see `restore`."""
        self._holds = holds
        self._path = folder / FILE_NAME
        self._clock = clock

    def restore(self) -> None:
        """Hold what was held when the agent ended; a file that cannot be read holds as well."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as exc:
            self._holds.hold(HOLDER, f"{self._path} cannot be read: {exc}", HINT)
        else:
            self._hold(kept)

    def begin(self, reason: str) -> str | None:
        """Hold claims at once; returns why a restart would forget it, or None."""
        kept = Kept(reason[:REASON_CHARS_MAX], self._clock.now())
        self._hold(kept)
        try:
            self._write(msgspec.json.encode(kept))
        except OSError as exc:
            return self._told(exc, "the next start of the agent claims again")
        return None

    def end(self) -> str | None:
        """Go on at once; returns why a restart would hold again, or None."""
        self._holds.lift(HOLDER)
        try:
            self._path.unlink(missing_ok=True)
        except OSError as exc:
            return self._told(exc, "the next start of the agent is paused again")
        return None

    def _hold(self, kept: Kept) -> None:
        since = kept.since.strftime("%Y-%m-%d %H:%M UTC")
        self._holds.hold(HOLDER, f"paused since {since}" + f": {kept.reason}" * bool(kept.reason), HINT)

    def _write(self, content: bytes) -> None:
        """Write the file whole or not at all; it outlives the machine's power."""
        draft = self._path.with_suffix(".draft")
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def _told(self, exc: OSError, consequence: str) -> str:
        why = f"{self._path}: {exc.strerror or exc}; {consequence}"
        log.warning("pause.not_kept", reason=why)
        return why
