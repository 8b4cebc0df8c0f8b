"""Checks of what surrounds the agent: the cloud that the machine is on, and its memory now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.agent.memory_watch import lack_of_room, lack_of_speed
from worker.cli import human
from worker.cli.checks import Check, fail, ok, warn
from worker.config import AgentConfig
from worker.machine.memory_state import MemoryState, read_memory_state

if TYPE_CHECKING:
    from worker.machine.facts import Facts
    from worker.machine.in_cloud import Clouds

__all__ = ["check_cloud", "check_memory"]


def check_cloud(facts: Facts, clouds: Clouds) -> Check:
    """Look whether the cloud that may be asked has answered."""
    if not clouds.candidates:
        return ok("cloud", f"nobody is asked: {clouds.why_none}")
    names = " or ".join(clouds.candidates)
    told = facts.instanceID.source
    if told in {f"{cloud} metadata" for cloud in clouds.candidates}:
        where = f" in {facts.zone.value}" if facts.zone.value else ""
        return ok("cloud", f"{told}: {facts.instanceID.value}{where}; it is watched for the machine's end")
    reason = next(
        (fact.reason for fact in (facts.zone, facts.preemptible) if fact.reason), "it did not answer"
    )
    todo = "let it be reached, or choose with --cloud: without it a preemption is met by SIGTERM only"
    return warn("cloud", f"{names}: {reason}", todo)


def check_memory(config: AgentConfig, state: MemoryState | None = None) -> Check:
    """Look whether memory is short now; nothing is claimed while it is."""
    found = state or read_memory_state()
    short = lack_of_room(found.rooms, config.min_memory_bytes)
    slow = lack_of_speed(found.pressure, config.memory_pressure)
    if short or slow:
        todo = "nothing is claimed so: end other programs, or lower --min-memory, raise --memory-pressure"
        return fail("memory", "; ".join(text for text in (short, slow) if text), todo)
    if not found.rooms:
        return ok("memory", "what is available cannot be read here; claims are not held for it")
    pressure = "not known" if found.pressure is None else f"{found.pressure.percent:g} %"
    least = min(found.rooms, key=lambda room: room.available_bytes)
    available = human.size(least.available_bytes)
    return ok("memory", f"{available} available ({least.source}), pressure {pressure}")
