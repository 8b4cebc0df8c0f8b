"""How children are confined, as the agent was told; `worker.minder.confine` does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec import Struct

__all__ = ["Confinement", "TaskUser"]


class TaskUser(Struct, frozen=True):
    """The user that handlers run as, where it is not the agent's."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]  # all of them, the one above among them
    home: Path  # that it can use: its own, or one that the agent made

    def own(self, path: Path) -> None:
        """Give it a file or folder.

        Raises:
            OSError: the agent may not, or it is not there.
        """
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


class Confinement(Struct, frozen=True, kw_only=True):
    """What children must not do or reach."""

    user: TaskUser | None = None
    no_new_privs: bool = True
    oom_score_adj: int | None = None  # what the kernel takes first has most; None: as the agent
    hide: tuple[str, ...] | None = None  # paths out of reach, by Landlock; None: no Landlock
    keep: tuple[str, ...] = ()  # folders below hidden ones that can be used all the same
    read: tuple[str, ...] = ()  # what cannot be changed, with Landlock

    def wish(self) -> dict[str, Any]:
        """Return it as `worker.minder.confine.confine` takes it."""
        wish: dict[str, Any] = {"no_new_privs": self.no_new_privs}
        if self.oom_score_adj is not None:
            wish["oom_score_adj"] = self.oom_score_adj
        if self.user is not None:
            wish["user"] = {"uid": self.user.uid, "gid": self.user.gid, "groups": list(self.user.groups)}
        if self.hide is not None:
            wish |= {"hide": list(self.hide), "keep": list(self.keep), "read": list(self.read)}
        return wish

    def environment(self) -> dict[str, str]:
        """Return what the environment of a child says of its user."""
        if self.user is None:
            return {}
        return {"HOME": str(self.user.home), "LOGNAME": self.user.name, "USER": self.user.name}
