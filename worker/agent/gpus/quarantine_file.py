"""Which GPUs an agent has in quarantine, in a small file of its state folder: for `millhand doctor`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import structlog

from worker.api.wire import format_instant, parse_instant

__all__ = ["QuarantineFile"]

log = structlog.get_logger()


class QuarantineFile:
    """Written by the agent whenever it changes; nothing is read from it by agents."""

    def __init__(self, state_dir: Path) -> None:
        """Keep the path."""
        self._path = state_dir / "gpus.json"

    def keep(self, until: Mapping[str, datetime]) -> None:
        """Keep until when each GPU is given to no run; where that cannot be written nobody reads it."""
        if not until and not self._path.exists():
            return
        new = self._path.with_suffix(".new")
        try:
            new.write_text(
                json.dumps({uuid: format_instant(at) for uuid, at in until.items()}), encoding="utf-8"
            )
            new.replace(self._path)
        except OSError as exc:
            log.warning("quarantine.not_kept", path=str(self._path), error=str(exc))

    def load(self) -> dict[str, datetime]:
        """Return until when each GPU is given to no run; later, one run tries it. Unreadable: none."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(uuid): at for uuid, value in found.items() if (at := parse_instant(value)) is not None}
