"""The agent's id: a random UUID that stays with one state directory on one machine."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from worker.machine.place import hashed_machine_id

__all__ = ["AgentId", "load_agent_id", "machine_fingerprint"]

FILE_NAME = "agent-id"


class AgentId(msgspec.Struct, frozen=True):
    """What the file holds: the id, and the place that it is bound to."""

    id: str
    place: str


def load_agent_id(
    state_dir: Path, random_uuid: Callable[[], uuid.UUID | str], machine_fingerprint: str
) -> str:
    """Return the id kept in `<state_dir>/agent-id`, or make one and keep it (durable when this returns).

    A directory that was copied, or moved to another machine, gets a new id: two agents must never share
    one. A file that cannot be understood is replaced. One agent at a time: hold the directory's lock.

    Raises:
        OSError: the directory cannot be read or written.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = fingerprint_of(state_dir, machine_fingerprint)
    kept = read_kept(state_dir / FILE_NAME)
    if kept is not None and kept.place == place:
        return kept.id
    made = AgentId(str(random_uuid()), place)
    write_durably(state_dir / FILE_NAME, msgspec.json.encode(made))
    return made.id


def machine_fingerprint(root: Path = Path("/")) -> str:
    """Return what tells this machine from its clones: the hashed machine id, and the board's UUID.

    Virtual machines made from one image may share the machine id; the board's UUID differs, but only root
    may read it. Most agents are not root; then the machine id alone has to do.
    """
    parts = [hashed_machine_id(root) or "no machine id"]
    with suppress(OSError):
        parts.append((root / "sys/class/dmi/id/product_uuid").read_text(errors="replace").strip())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def fingerprint_of(state_dir: Path, machine: str) -> str:
    """Return what changes when the directory is copied: machine, path, and the file system's identity."""
    path = state_dir.resolve()
    status = path.stat()
    return hashlib.sha256(f"{machine}\n{path}\n{status.st_dev}\n{status.st_ino}".encode()).hexdigest()[:32]


def read_kept(path: Path) -> AgentId | None:
    """Return what the file holds; None where there is none, or it is damaged."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=AgentId)
        uuid.UUID(kept.id)
    except FileNotFoundError:
        return None
    except ValueError:  # msgspec's errors are ValueErrors
        return None
    return kept


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file whole: either the old one or the new one is there after a power cut."""
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content)
        file.flush()
        os.fsync(fd)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
