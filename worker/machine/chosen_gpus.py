"""The GPUs that one agent of several on a machine may use, by index, UUID or the beginning of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.machine.facts import Fact, Gpu
from worker.machine.gpu import gpu_type

__all__ = ["with_chosen"]

MIN_PREFIX: Final = 5  # of a UUID: "GPU-" and a character


def with_chosen(facts: dict[str, Fact], wanted: Sequence[str]) -> dict[str, Fact]:
    """Return the facts of GPUs with those alone that a person chose; all of them where nobody did.

    An index counts GPUs as NVML does, and stands for all instances of one that is parted by MIG, as its
    UUID does. One that is not there makes the GPUs unknown, with the reason: an agent that goes on with
    fewer than it was given would hide that one fell off its bus.
    """
    fact = facts["gpus"]
    if not wanted or fact.state == "unknown":
        return facts
    found: list[Gpu] = list(fact.value or ())
    kept: list[Gpu] = []
    for word in wanted:
        some = named(found, word)
        if not some:
            lack = f"--gpus names {word}, and NVML lists {told(found)}"
            return facts | dict.fromkeys(("gpuType", "gpus"), Fact.unknown(lack))
        kept += [gpu for gpu in some if gpu not in kept]
    source = f"{fact.source}; chosen by --gpus"
    return facts | {
        "gpuType": Fact.measured(gpu_type(kept), source),
        "gpus": Fact.measured(kept, source),
    }


def named(gpus: Sequence[Gpu], word: str) -> list[Gpu]:
    """Return the GPUs that a word means; none where it means none, or more than one by its beginning."""
    whole = list(dict.fromkeys(gpu.mig_of or gpu.uuid for gpu in gpus))
    if word.isdecimal():
        index = int(word)
        return instances(gpus, whole[index]) if index < len(whole) else []
    if len(word) < MIN_PREFIX:
        return []
    parents = [uuid for uuid in whole if uuid.startswith(word)]
    if len(parents) == 1:
        return instances(gpus, parents[0])
    single = [gpu for gpu in gpus if gpu.uuid.startswith(word)]
    return single if len(single) == 1 else []


def instances(gpus: Sequence[Gpu], uuid: str) -> list[Gpu]:
    """Return a GPU, or all that it is parted into."""
    return [gpu for gpu in gpus if uuid in (gpu.uuid, gpu.mig_of)]


def told(gpus: Sequence[Gpu]) -> str:
    """Say which there are."""
    return ", ".join(gpu.uuid for gpu in gpus) or "none"
