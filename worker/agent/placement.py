"""Whether a machine can serve a task: what the task needs against what the machine is.

Pure: facts in, reasons out. What is not known of the machine is never taken for enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase

from worker.agent.requirements import Label, Requirements, read_requirements
from worker.executor.quantities import cut
from worker.machine.facts import Fact, Facts, Gpu

__all__ = ["gpu_count", "suitable_gpus", "unmet", "with_gpus"]

BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
Shown = Callable[[Decimal | int], str]


def unmet(
    requires: object, facts: Facts, labels: Mapping[str, str], free_gpus: int | None = None
) -> tuple[str, ...]:
    """Return why this machine cannot serve a task, in plain words; empty where it can.

    Args:
        requires: `parameters.requires` as the task carries it, of any shape.
        facts: what the machine is.
        labels: the labels of the agent.
        free_gpus: how many GPUs no other run holds; None leaves that out (can the machine ever?).
    """
    if requires is None:
        return ()  # as most tasks
    wanted, problems = read_requirements(requires)
    if problems:
        return problems
    return (
        *lacking("CPUs", wanted.cpus, facts.limitCPUs, facts.nodeCPUs, plain),
        *lacking("memory", wanted.memory, facts.limitRAM, facts.nodeRAM, size),
        *lacking_gpus(wanted, facts.gpus, free_gpus),
        *(reason for label in wanted.labels if (reason := lacking_label(label, labels))),
    )


def with_gpus(requires: object, gpus: int | None) -> object:
    """Return what a task requires, with the GPUs of its handler where it says nothing of GPUs itself."""
    if gpus is None or (requires is not None and not isinstance(requires, Mapping)):
        return requires
    said = requires or {}
    is_said = any(said.get(key) is not None for key in ("gpus", "gpuType", "gpuMemory"))
    return requires if is_said else {**said, "gpus": gpus}


def gpu_count(requires: object) -> int:
    """Return how many GPUs a task needs; 0 where it needs none, or where `requires` cannot be read."""
    if requires is None:
        return 0
    wanted, problems = read_requirements(requires)
    return 0 if problems else wanted.gpu_count


def suitable_gpus(requires: object, facts: Facts) -> tuple[Gpu, ...]:
    """Return the GPUs of the machine that a task may be given: right type, enough memory."""
    wanted, problems = read_requirements(requires)
    if problems or facts.gpus.state != "measured":
        return ()
    return tuple(gpu for gpu in facts.gpus.value if fits(wanted, gpu))


def lacking(what: str, wanted: Decimal | int | None, limit: Fact, node: Fact, show: Shown) -> tuple[str, ...]:
    """Compare an amount with the machine's: its limit where that is measured, else the node's."""
    if not wanted:
        return ()
    measured = [Decimal(repr(fact.value)) for fact in (limit, node) if fact.state == "measured"]
    if not measured:
        why = node.reason or limit.reason or "no reason was given"
        return (f"needs {show(wanted)} {what}, and how much this machine has is unknown: {why}",)
    has = min(measured)  # a limit above what the node has gives no more than the node has
    if wanted <= has:
        return ()
    say = show if show(wanted) != show(has) else exactly  # rounded alike: say it to the byte
    return (f"needs {say(wanted)} {what}, this machine has {say(has)}",)


def lacking_gpus(wanted: Requirements, gpus: Fact, free_gpus: int | None) -> tuple[str, ...]:
    """Compare the GPUs that are asked for with those of the machine, then with those that are free."""
    needs = f"needs {described(wanted)}"
    if not wanted.gpu_count:
        return ()
    if gpus.state == "unknown":
        return (f"{needs}, and which GPUs this machine has is unknown: {gpus.reason}",)
    there: list[Gpu] = list(gpus.value or ())
    suitable = [gpu for gpu in there if fits(wanted, gpu)]
    if len(suitable) < wanted.gpu_count:
        unknown = memory_unknown(wanted, there)
        return (f"{needs}, this machine has {inventory(there)}{unknown}",)
    # Which GPUs are free is not told, only how many: those that do not suit may be the free ones.
    if free_gpus is not None and free_gpus - (len(there) - len(suitable)) < wanted.gpu_count:
        return (f"{needs}, {free_gpus} of {len(there)} GPUs of this machine are free",)
    return ()


def memory_unknown(wanted: Requirements, gpus: list[Gpu]) -> str:
    """Say that memory of GPUs is not known, where that decides."""
    silent = sum(gpu.memory_bytes is None and has_type(wanted, gpu) for gpu in gpus)
    return f" (memory of {silent} not known)" if silent and wanted.gpu_memory else ""


def fits(wanted: Requirements, gpu: Gpu) -> bool:
    """Tell whether one GPU is of a wanted type and has the memory; memory not known is not enough."""
    if wanted.gpu_memory and (gpu.memory_bytes is None or gpu.memory_bytes < wanted.gpu_memory):
        return False
    return has_type(wanted, gpu)


def has_type(wanted: Requirements, gpu: Gpu) -> bool:
    """Tell whether one GPU is of a wanted type."""
    return not wanted.gpu_type or any(is_named(gpu.name, pattern) for pattern in wanted.gpu_type)


def is_named(name: str, pattern: str) -> bool:
    """Tell whether a name holds the text, or matches it as a whole where it has * ? or [ ]; in any case."""
    name, pattern = name.casefold(), pattern.casefold()
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def lacking_label(label: Label, labels: Mapping[str, str]) -> str | None:
    """Compare one label with those of the agent."""
    key, wanted = label
    asked = cut(key if wanted is None else f"{key}={wanted}")
    if key not in labels:
        return f"needs the label {asked}, this agent has none of that key"
    if wanted is not None and labels[key] != wanted:
        return f"needs the label {asked}, this agent has {cut(f'{key}={labels[key]}')}"
    return None


def described(wanted: Requirements) -> str:
    """Return the GPUs that are asked for, in words: ``2 GPUs of type A100 or H100 with 24 GiB``."""
    words = f"{wanted.gpu_count} GPU{'s' if wanted.gpu_count != 1 else ''}"
    if wanted.gpu_type:
        words += f" of type {cut(' or '.join(wanted.gpu_type))}"
    return words + (f" with {size(wanted.gpu_memory)}" if wanted.gpu_memory else "")


def inventory(gpus: list[Gpu]) -> str:
    """Return the GPUs of the machine, in words: ``2 (NVIDIA L4 with 22.5 GiB)``."""
    if not gpus:
        return "none"
    kinds = sorted(
        {gpu.name + (f" with {size(gpu.memory_bytes)}" if gpu.memory_bytes else "") for gpu in gpus}
    )
    return f"{len(gpus)} ({cut(', '.join(kinds), 200)})"


def plain(number: Decimal | int) -> str:
    """Return a number without an exponent and without zeros at its end."""
    written = f"{Decimal(number):f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def exactly(n_bytes: Decimal | int) -> str:
    """Return bytes, all digits of them."""
    return f"{plain(n_bytes)} bytes"


def size(n_bytes: Decimal | int) -> str:
    """Return bytes with a binary unit, rounded only where it is not exact."""
    value, unit = Decimal(n_bytes), 0
    while value >= 1024 and unit < len(BYTE_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{plain(round(value, 2))} {BYTE_UNITS[unit]}"
