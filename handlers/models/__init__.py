"""Small models of our own making, for the demo and the tests; `make.py` makes them, bit for bit."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BROKEN", "folder", "paths"]

BROKEN = "broken.glb"  # cut off on purpose: whoever converts it must be told so


def folder() -> Path:
    """Return the folder that holds the models, in a checkout as in an installed wheel."""
    return Path(__file__).resolve().parent


def paths() -> list[Path]:
    """Return the sound models by name; the broken one is `folder() / BROKEN`."""
    return sorted(path for path in folder().glob("*.glb") if path.name != BROKEN)
