"""The folder where inputs are kept between runs, made ready: a part for each user, a key for each type.

::

    <folder>/key         of the agents that share it; handlers do not get it
    <folder>/user-<uid>  what handlers of that user keep; see `worker.sdk.input_cache`
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from worker.agent.task_user import obstacle
from worker.executor.confinement import TaskUser
from worker.sdk.cache_grant import CacheGrant

__all__ = ["Grants", "key_path", "open_input_cache", "user_folder"]

KEY_BYTES: Final = 32

Grants = Callable[[str], CacheGrant | None]


def key_path(folder: Path) -> Path:
    """Return where the key lies."""
    return folder.absolute() / "key"


def user_folder(folder: Path, user: TaskUser | None) -> Path:
    """Return where the handlers of a user keep inputs."""
    return folder.absolute() / f"user-{os.geteuid() if user is None else user.uid}"


def open_input_cache(folder: Path | None, max_bytes: int, user: TaskUser | None = None) -> Grants:
    """Make the cache ready; return what the processes of each type are told of it.

    Args:
        folder: None: there is none.
        max_bytes: of all that a user's handlers keep.
        user: who runs them; None: whoever runs this.

    Raises:
        ValueError: it cannot be used; the message says why and what to do.
    """
    if folder is None:
        return lambda _: None
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)  # whatever the umask; what is in it is for one user each
        master = read_key(key_path(folder))
        mine = user_folder(folder, user)
        mine.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            user.own(mine)
    except OSError as exc:
        raise ValueError(
            f"input_cache: {folder} cannot be used: {exc}; agents that share it run as the same user"
        ) from exc
    if user is not None and (said := obstacle(user, mine)) is not None:
        raise ValueError(f"input_cache: {said}; handlers need {mine}: chmod it, or put it elsewhere")

    def grant(type_: str) -> CacheGrant:
        key = hmac.new(master, type_.encode(), hashlib.sha256).hexdigest()
        return CacheGrant(str(mine), key, max_bytes)

    return grant


def read_key(path: Path) -> bytes:
    """Return the key, drawn where there is none yet; whole, also where two agents start at once.

    Raises:
        OSError: it cannot be read or written, or is none.
    """
    if not path.exists():
        part = path.with_name(f".key.{secrets.token_hex(8)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another agent was quicker: its key counts
                path.hardlink_to(part)
        finally:
            part.unlink(missing_ok=True)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is no key; remove it")
    return key
