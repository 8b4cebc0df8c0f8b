"""What an agent watches while it works, put together: late facts, memory, and the end of the machine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from worker.agent.drain import Drain
from worker.agent.holds import Holds, Watch
from worker.agent.memory_watch import MemoryWatch
from worker.agent.preemption import PreemptionWatch
from worker.clock import Clock
from worker.config import AgentConfig
from worker.machine.in_cloud import Clouds
from worker.machine.live_facts import LiveFacts
from worker.machine.notice_sources import sources_of

__all__ = ["watches_of"]


def watches_of(
    config: AgentConfig,
    clouds: Clouds,
    facts: LiveFacts,
    clock: Clock,
    random: Random,
    *,
    let_idle_go: Callable[[], None],
) -> tuple[Watch, ...]:
    """Return what goes on beside the work; `let_idle_go` gives back memory that no run needs."""

    async def late_facts(drain: Drain, holds: Holds) -> None:
        await facts.complete(random)

    async def preemption(drain: Drain, holds: Holds) -> None:
        cloud = await clouds.cloud()
        watch = PreemptionWatch(
            drain,
            holds,
            clock,
            random,
            drain_timeout_s=config.drain_timeout_s,
            rebalance=config.rebalance,
        )
        await watch.run(sources_of(cloud, clouds.gce, has_gpus=facts.has_gpus, now=clock.now))

    async def memory(drain: Drain, holds: Holds) -> None:
        watch = MemoryWatch(
            holds,
            min_bytes=config.min_memory_bytes,
            max_percent=config.memory_pressure,
            on_short=let_idle_go,
        )
        await watch.run()

    return late_facts, preemption, memory
