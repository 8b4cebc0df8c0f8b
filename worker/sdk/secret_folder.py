"""Where a run puts files with secrets in them: gone with the run, whatever is kept of it."""

from __future__ import annotations

TYPE_CHECKING = False  # pathlib costs 8 ms to import
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SECRET_FOLDER", "secret_folder"]

# In the run's folder; whoever keeps that removes this before.
SECRET_FOLDER = ".secrets"  # noqa: S105 - a folder


def secret_folder(workdir: Path) -> Path:
    """Return the folder, made for the worker's user only."""
    folder = workdir / SECRET_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
