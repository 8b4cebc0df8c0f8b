"""Which GPUs are free, and which run has which: each GPU belongs to one run at a time."""

from __future__ import annotations

from collections.abc import Iterable

from worker.agent.placement import gpu_count, suitable_gpus, unmet
from worker.api.models import Task
from worker.config import AgentConfig
from worker.machine.facts import Facts

__all__ = ["Gpus"]


class Gpus:
    """The GPUs of this machine. A task gets as many as it requires; one that requires none sees none."""

    def __init__(self, facts: Facts, config: AgentConfig) -> None:
        """All are free."""
        self._facts = facts
        self._labels = config.labels
        found = facts.gpus.value if facts.gpus.state == "measured" else ()
        self._free = [gpu.uuid for gpu in found or ()]

    def unmet(self, task: Task) -> tuple[str, ...]:
        """Return what the machine lacks for a task, now."""
        requires = task.parameters.get("requires")
        reasons = unmet(requires, self._facts, self._labels)
        if reasons or self._suitable(requires) is not None:
            return reasons
        return (f"needs {gpu_count(requires)} GPU(s) of a kind of which fewer are free now",)

    def take(self, task: Task) -> tuple[str, ...] | None:
        """Give a task the GPUs that it requires, by UUID; None where they are not free any more."""
        taken = self._suitable(task.parameters.get("requires"))
        for uuid in taken or ():
            self._free.remove(uuid)
        return taken

    def give_back(self, uuids: Iterable[str]) -> None:
        """Have the GPUs of an ended run free again."""
        self._free.extend(uuids)

    def _suitable(self, requires: object) -> tuple[str, ...] | None:
        wanted = gpu_count(requires)
        free = [gpu.uuid for gpu in suitable_gpus(requires, self._facts) if gpu.uuid in self._free]
        return tuple(free[:wanted]) if len(free) >= wanted else None
