"""What `millhand up` leaves for other commands on this machine: where it answers, and its token."""

from __future__ import annotations

import json
import os
import secrets
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from worker.cli import paths

__all__ = ["ADDRESS_NAME", "TOKEN_NAME", "is_loopback", "keep_token", "token_of_up", "write_address"]

TOKEN_NAME = "token"  # noqa: S105 - the name of the file
ADDRESS_NAME = "up.json"


def is_loopback(url: str) -> bool:
    """Tell whether a URL names this very host."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def token_of_up(url: str, folder: Path | None = None) -> Path | None:
    """Return the token's file of the `millhand up` that serves this URL; None where there is none."""
    folder = folder or paths.up_state_dir()
    try:
        address = json.loads((folder / ADDRESS_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    known = isinstance(address, dict) and str(address.get("url", "")).rstrip("/") == url.rstrip("/")
    token = folder / TOKEN_NAME
    return token if known and is_loopback(url) and token.is_file() else None


def write_address(folder: Path, url: str) -> None:
    """Say where `millhand up` answers."""
    (folder / ADDRESS_NAME).write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n", encoding="utf-8")


def keep_token(folder: Path) -> Path:
    """Return the file with the token of a state folder; made at the first time, for its owner only."""
    path = folder / TOKEN_NAME
    if not (path.is_file() and path.read_bytes().strip()):
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    path.chmod(0o600)
    return path
