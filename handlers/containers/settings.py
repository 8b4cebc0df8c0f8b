"""What the operator of a machine says of containers, beside which images are allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from worker import Fail

__all__ = ["NOBODY", "Settings", "read_settings"]

ENGINE = "MILLHAND_CONTAINER_ENGINE"
NETWORK = "MILLHAND_CONTAINER_NETWORK"
USER = "MILLHAND_CONTAINER_USER"
NETWORKS = ("none", "bridge")
NOBODY = 65534  # the user of programs in containers where the worker is root
USER_FORM = re.compile(r"(\d{1,9})(?::(\d{1,9}))?", re.ASCII)


class Settings(NamedTuple):
    """The operator's settings."""

    engine: str | None  # a name or path; None: docker or podman, whichever is found
    network: str  # "none" or "bridge"
    uid: int
    gid: int


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read them.

    Raises:
        Fail: one makes no sense; its variable is named.
    """
    network = environment.get(NETWORK) or "none"
    if network not in NETWORKS:
        raise Fail(f"{NETWORK} is none or bridge, not {network[:60]!r}")
    return Settings(environment.get(ENGINE) or None, network, *read_user(environment.get(USER) or ""))


def read_user(text: str) -> tuple[int, int]:
    """Return user and group: by default the worker's own, and nobody where that is root."""
    if not text:
        return (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (NOBODY, NOBODY)
    match = USER_FORM.fullmatch(text)
    if match is None:
        raise Fail(f"{USER} is numbers, as 1000 or 1000:1000, not {text[:60]!r}")
    uid, gid = int(match[1]), int(match[2] or match[1])
    if os.geteuid() not in (0, uid):
        raise Fail(f"{USER} is {text}, but only a worker that is root may leave its files to another user")
    return uid, gid
