"""`millhand status`: how the agent on this machine stands."""

from __future__ import annotations

from pathlib import Path

from worker.cli.agent_here import agent_here, agent_setting
from worker.cli.command import command as make_command
from worker.cli.terminal import Output, output_options

__all__ = ["command"]


@make_command(
    "status",
    examples="""
millhand status
millhand status --state-dir /var/lib/millhand        # where several agents work
millhand status --json | jq -r '.holds[] | "\\(.by): \\(.reason)"'
until millhand status --json | jq -e '.slots.busy == 0'; do sleep 5; done
""",
)
@agent_setting
@output_options
def command(*, state_dir: Path | None, out: Output) -> int:
    """Show how the running agent stands: whether it claims, and why not; runs, GPUs, journal, server.

    It is the document of the agent's page (GET /status), asked by a socket in the agent's state folder: for
    its user and root alone, and without a page. Exit code 0: it answered; 3: no agent does.
    """
    agent = agent_here(state_dir)
    answer = agent.ask("status")
    if out.is_json:
        out.json({"stateDir": agent.folder, "pid": answer["pid"], **answer["status"]})
    else:
        from worker.cli.status_view import show

        show(out, agent.folder, answer["pid"], answer["status"])
    return 0
