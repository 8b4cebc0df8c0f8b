"""Remove what containers a dead process of this agent has left on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from handlers.containers.engine import Engine, said
from handlers.containers.owner import (
    AGENT,
    OWNER,
    RUN,
    Owner,
    agent_of,
    container_name,
    is_dead,
    this_process,
)
from worker import Fail, Retry

__all__ = ["Leftover", "remove", "remove_leftovers"]

REMOVE_S = 60.0
LEFTOVER_S = 20.0  # another run waits for it


class Leftover(NamedTuple):
    """One that was found."""

    id: str
    run: str  # empty: it could not be looked at
    problem: str | None  # why it is still there; None: it is gone


def remove_leftovers(engine: Engine, environment: Mapping[str, str]) -> list[Leftover]:
    """Remove them; one that cannot be removed is told, and hinders nobody.

    Only containers of this agent (or, for `millhand run`, of other such runs) are looked at, and of those
    only whose owner is proven dead, or is this very process, which begins another run. Two that do it at
    once do no harm.

    Raises:
        Fail, Retry: the engine does not answer as it should.
    """
    agent, here = agent_of(environment), this_process()
    listed = engine.ask("ps", "--all", "--quiet", "--no-trunc", f"--filter=label={AGENT}={agent}")
    if listed.returncode != 0:
        raise engine.failure("list containers", listed.stderr)
    found = (settled(engine, id_, agent, here) for id_ in listed.stdout.split())
    return [one for one in found if one is not None]


def settled(engine: Engine, id_: str, agent: str, here: Owner) -> Leftover | None:
    """Look at one container, and remove it where it is a leftover; None where it is none."""
    run = ""
    try:
        seen = engine.look("container", id_)
        if seen is None or (proven := run_of_leftover(seen, agent, here)) is None:
            return None
        run = proven
        remove(engine, id_, limit_s=LEFTOVER_S)
    except (Fail, Retry) as exc:
        return Leftover(id_, run, str(exc))
    return Leftover(id_, run, None)


def run_of_leftover(container: dict[str, Any], agent: str, here: Owner) -> str | None:
    """Return the run of a container whose owner is dead; None where that is not proven.

    Labels alone prove nothing: an image brings its own. Its name must be the one that we give, too.
    """
    labels = (container.get("Config") or {}).get("Labels") or {}
    owner = Owner.read(str(labels.get(OWNER, "")))
    if labels.get(AGENT) != agent or owner is None or not (owner == here or is_dead(owner, here)):
        return None
    run = str(labels.get(RUN, ""))
    return run if run and str(container.get("Name")).removeprefix("/") == container_name(run) else None


def remove(engine: Engine, id_: str, limit_s: float = REMOVE_S) -> None:
    """End a container and remove it, with its anonymous volumes; one that is gone is fine.

    Raises:
        Fail, Retry: it could not be removed.
    """
    done = engine.ask("rm", "--force", "--volumes", id_, limit_s=limit_s)
    if done.returncode != 0 and not is_going(done.stderr):
        raise engine.failure(f"remove container {id_[:12]} ({said(done.stderr)[:100]})", done.stderr)


def is_going(stderr: str) -> bool:
    """Tell whether a container is gone, or somebody else is removing it."""
    text = stderr.lower()
    return any(part in text for part in ("no such container", "already in progress", "no container with"))
