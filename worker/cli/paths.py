"""Where files lie when nobody says so: the XDG folders of a user, the system's for root."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["agent_state_dir", "cache_folder", "config_candidates", "state_home", "up_state_dir"]


def state_home() -> Path:
    """Return the folder for state: ``$XDG_STATE_HOME/millhand``, ``/var/lib/millhand`` for root."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "millhand"
    if os.geteuid() == 0 and "HOME" not in os.environ:
        return Path("/var/lib/millhand")
    return Path.home() / ".local" / "state" / "millhand"


def agent_state_dir() -> Path:
    """Return the agent's folder: what systemd gives (``$STATE_DIRECTORY``), else below the state folder."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return state_home() / "agent"


def up_state_dir() -> Path:
    """Return the folder of `millhand up`."""
    return state_home() / "up"


def config_candidates() -> tuple[Path, ...]:
    """Return where the configuration file is looked for, the first that exists wins."""
    base = os.environ.get("XDG_CONFIG_HOME")
    home = Path(base) if base else Path.home() / ".config"
    return (home / "millhand" / "config.toml", Path("/etc/millhand/config.toml"))


def cache_folder() -> Path | None:
    """Return the folder of what can be found out again, made where it was not; None where it cannot be."""
    folder = state_home() / "cache"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder
