"""Confine a child between fork and exec, as its order wishes (`confine`)."""

from __future__ import annotations

import errno
import os
import resource

from worker.minder import landlock, privileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["confine", "forbid_core_dumps"]

ADJUSTMENT = "/proc/self/oom_score_adj"

# With 0 a core still goes to a program that the kernel starts (`|/usr/lib/…` in core_pattern);
# 1 is less than the smallest core file and keeps it from that too (fs/coredump.c, core(5)).
CORE_BYTES = 1


def confine(wish: dict[str, Any]) -> None:
    """Apply a wish to this process and all that it will start, for good.

    Must be called on the only thread of a process that was forked for it. Descriptors are untouched.

    Args:
        wish: JSON-able; what is absent is not done. Core dumps are always off.
            oom_score_adj (int): at least this, so that the kernel takes it before the agent; skipped where
                the kernel does not let this process.
            user ({"uid", "gid", "groups"}): whom to become; drops every capability.
            no_new_privs (bool): no set-user-ID program raises it again.
            hide (list of paths): what Landlock keeps out of reach; with an empty list it still keeps
                this process from looking into or signalling those outside. Drops most capabilities.
            keep (list of paths): folders below hidden ones that can be used all the same.
            read (list of paths): what can be read and run, not changed (with `hide` only).

    Raises:
        OSError: a step failed; the message names it. Then this process must not go on.
    """
    if "oom_score_adj" in wish:
        raise_oom_score(int(wish["oom_score_adj"]))
    with Step("core dumps"):
        forbid_core_dumps()
    user, is_landlocked = wish.get("user"), wish.get("hide") is not None
    is_held = is_landlocked or bool(wish.get("no_new_privs"))
    uid = os.getuid() if user is None else int(user["uid"])
    kept = privileges.KEPT_OF_ROOT if uid == 0 else 0
    ruleset = prepare_landlock(wish, uid) if is_landlocked else None
    with Step("capabilities"):
        if is_held and (user is not None or is_landlocked):
            privileges.bound_capabilities(kept)  # before the user changes: nobody else may
    if user is not None:
        with Step(f"user {uid}"):
            privileges.become_user(uid, int(user["gid"]), [int(group) for group in user["groups"]])
    with Step("capabilities"):
        if user is not None or is_landlocked:
            privileges.drop_capabilities(kept)
        if user is not None and uid != 0:
            privileges.check_no_way_back()
    with Step("no_new_privs"):
        if is_held:
            privileges.forbid_new_privileges()
    if ruleset is not None:
        with Step("landlock"):
            landlock.restrict(ruleset)
            os.close(ruleset)
            landlock.check_hidden(wish["hide"], wish.get("keep") or (), wish.get("read") or ())


def prepare_landlock(wish: dict[str, Any], uid: int) -> int:
    """Make the ruleset while this process may still look everywhere."""
    with Step("landlock"):
        return landlock.make_ruleset(
            wish["hide"], wish.get("keep") or (), wish.get("read") or (), no_disks=uid == 0
        )


def raise_oom_score(adjustment: int) -> None:
    """Set how soon the kernel takes this process when memory runs out; never make it later than it is."""
    try:
        with open(ADJUSTMENT, encoding="ascii") as file:
            now = int(file.read())
        if now < adjustment:
            with open(ADJUSTMENT, "w", encoding="ascii") as file:
                file.write(str(min(adjustment, 1000)))
    except OSError:  # no /proc, or an interpreter with file capabilities: its /proc/self is root's
        pass


def forbid_core_dumps() -> None:
    """Keep this process and its children from leaving their memory in files."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = CORE_BYTES if hard == resource.RLIM_INFINITY else min(CORE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


class Step:
    """Names a step in what it raises."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        """Say of a failure which step it was."""
        if isinstance(exc, OSError):
            said = exc.strerror or str(exc)
            text = said if said.startswith(self._name) else f"{self._name}: {said}"
            raise OSError(exc.errno or errno.EPERM, f"the child could not be confined: {text}") from exc
