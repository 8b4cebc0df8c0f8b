"""`millhand facts`: what this machine is, value by value."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from worker.cli import human
from worker.cli.agent_settings import agent_settings
from worker.cli.command import command as make_command
from worker.cli.terminal import Output, output_options
from worker.config import AgentConfig, ApiConfig

if TYPE_CHECKING:
    from worker.machine.facts import Fact, Facts

__all__ = ["command", "detect_facts", "shown_value"]


@make_command(
    "facts",
    examples="""
millhand facts
millhand facts --json | jq .nodeRAM
millhand facts --zone eu-west-1a           # with what a person knows better
""",
)
@output_options
@agent_settings
def command(*, agent: Callable[[ApiConfig], AgentConfig], out: Output) -> int:
    """Show what this machine is, as its runs will carry it: each value with its source.

    What could not be found out says why; absent means that there is known to be none.
    """
    facts = asyncio.run(detect_facts(agent(ApiConfig())))
    if out.is_json:
        from worker.machine.detect import as_machine

        out.json(as_machine(facts))
    else:
        show(out, facts)
    return 0


async def detect_facts(config: AgentConfig) -> Facts:
    """Return the facts of this machine with what the configuration knows better."""
    from worker.machine.detect import detect_configured

    return await detect_configured(config, os.environ)


def show(out: Output, facts: Facts) -> None:
    """Write the table."""
    from rich.text import Text

    from worker.cli.view import status_text, table

    made = table("fact", "value", "state", "source, or why it is not known")
    for name, fact in facts.items():
        made.add_row(
            name, Text(shown_value(name, fact)), status_text(fact.state), Text(fact.source or fact.reason)
        )
    out.table(made)


def shown_value(name: str, fact: Fact) -> str:
    """Return a fact's value for people."""
    if fact.value is None:
        return human.DASH
    if name.endswith("RAM"):
        return human.size(fact.value)
    if name == "gpus":
        return "\n".join(shown_gpu(gpu) for gpu in fact.value) or "none"
    return human.text(fact.value)


def shown_gpu(gpu: Any) -> str:
    """Return one GPU in a line."""
    place = f", PCI {gpu.pci_id}" if gpu.pci_id else ""
    return f"{gpu.name}, {human.size(gpu.memory_bytes)}, {gpu.uuid}{place}"
