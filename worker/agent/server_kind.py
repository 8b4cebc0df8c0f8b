"""What a server does with a run id that it knows already; found out once per URL, and kept."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

import structlog

__all__ = ["FoundKinds", "ServerKind"]

log = structlog.get_logger()


class ServerKind(StrEnum):
    """How claims are decided on a server."""

    UNKNOWN = "unknown"  # not found out yet: ask before posting, and probe the first claim
    KEY = "key"  # ids are unique: the server's key decides a race
    IGNORES = "ignores"  # it gives runs ids of its own: claims go by election
    OVERWRITES = "overwrites"  # a second run with the same id replaces the first: election

    @property
    def elects(self) -> bool:
        """Tell whether claims go by election."""
        return self in (ServerKind.IGNORES, ServerKind.OVERWRITES)


class FoundKinds:
    """The kinds of servers that were found out, in a small file of the state directory."""

    def __init__(self, path: Path) -> None:
        """Keep the path."""
        self._path = path

    def load(self, url: str) -> ServerKind:
        """Return what is known of a server; an unreadable file knows nothing."""
        return (
            ServerKind(known) if (known := self._read().get(url)) in set(ServerKind) else ServerKind.UNKNOWN
        )

    def keep(self, url: str, kind: ServerKind) -> None:
        """Keep what was found out; where it cannot be written it is found out again next time."""
        new = self._path.with_suffix(".new")
        try:
            new.write_text(json.dumps({**self._read(), url: str(kind)}, indent=1), encoding="utf-8")
            new.replace(self._path)
        except OSError as exc:
            log.warning("server_kind.not_kept", path=str(self._path), error=str(exc))

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
