"""Remove what containers a dead process of this agent has left on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handlers.containers.engine import Engine, said
from handlers.containers.owner import AGENT, OWNER, RUN, Owner, agent_of, is_dead, this_process

__all__ = ["find_leftovers", "remove", "remove_leftovers"]

REMOVE_S = 60.0


def remove_leftovers(engine: Engine, environment: Mapping[str, str]) -> list[str]:
    """Remove them; return the runs that they were of.

    Only containers of this agent (or, for `millhand run`, of other such runs) are looked at, and of those
    only whose owner is proven dead, or is this very process, which begins another run. Two that do it at
    once do no harm.

    Raises:
        Fail, Retry: the engine does not answer as it should.
    """
    found = find_leftovers(engine, agent_of(environment), this_process())
    for id_, _ in found:
        remove(engine, id_)
    return [run for _, run in found]


def find_leftovers(engine: Engine, agent: str, here: Owner) -> list[tuple[str, str]]:
    """Return the ids of leftovers, each with its run."""
    listed = engine.ask("ps", "--all", "--quiet", "--no-trunc", f"--filter=label={AGENT}={agent}")
    if listed.returncode != 0:
        raise engine.failure("list containers", listed.stderr)
    seen = [engine.look("container", id_) for id_ in listed.stdout.split()]
    return [found for one in seen if one is not None and (found := leftover(one, agent, here)) is not None]


def leftover(container: dict[str, Any], agent: str, here: Owner) -> tuple[str, str] | None:
    """Return id and run of a container whose owner is dead; None where that is not proven."""
    labels = (container.get("Config") or {}).get("Labels") or {}
    owner = Owner.read(str(labels.get(OWNER, "")))
    if labels.get(AGENT) != agent or owner is None or not (owner == here or is_dead(owner, here)):
        return None
    return str(container["Id"]), str(labels.get(RUN, ""))


def remove(engine: Engine, id_: str) -> None:
    """End a container and remove it, with its anonymous volumes; one that is gone is fine.

    Raises:
        Fail, Retry: it could not be removed.
    """
    done = engine.ask("rm", "--force", "--volumes", id_, limit_s=REMOVE_S)
    if done.returncode != 0 and not is_going(done.stderr):
        raise engine.failure(f"remove container {id_[:12]} ({said(done.stderr)[:100]})", done.stderr)


def is_going(stderr: str) -> bool:
    """Tell whether a container is gone, or somebody else is removing it."""
    text = stderr.lower()
    return any(part in text for part in ("no such container", "already in progress", "no container with"))
