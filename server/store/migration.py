"""Steps of a schema: numbered SQL files, applied in order, each once, never backwards."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from msgspec import Struct

from server.store.refusal import DatabaseError

__all__ = ["Migration", "check_known", "files_of"]


class Migration(Struct, frozen=True, order=True):
    """A step of the schema: its number, the name of its file, its statements."""

    version: int
    name: str
    sql: str


def files_of(package: str) -> list[Migration]:
    """Read the files of a package, in order."""
    files = (f for f in resources.files(package).iterdir() if f.name.endswith(".sql"))
    return sorted(Migration(int(f.name.split("_")[0]), f.name, f.read_text("utf-8")) for f in files)


def check_known(current: int, steps: Sequence[Migration]) -> int:
    """Return the version that the steps lead to.

    Raises:
        DatabaseError: the database is newer.
    """
    newest = max((step.version for step in steps), default=0)
    if current > newest:
        raise DatabaseError(
            f"the database has schema version {current}, this program knows up to {newest}:"
            " start the newer program, or restore the backup made before it ran"
        )
    return newest
