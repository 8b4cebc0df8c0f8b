"""`millhand health`: whether the agent or the server of this container answers; for health checks."""

from __future__ import annotations

import click

from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.terminal import Output, text_output_options

__all__ = ["command"]


@make_command(
    "health",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    examples="""
docker run --health-cmd 'millhand health' …                  # the image has it already (HEALTHCHECK)
millhand health --json                                       # of what the container's first process is
millhand health agent --state-dir /var/lib/millhand/agent    # elsewhere: name it, with its settings
millhand health serve --port 9000 || systemctl restart millhand-server
""",
)
@click.argument("service", nargs=-1, type=click.UNPROCESSED, metavar="[agent|serve|up [SETTINGS]…]")
@text_output_options
def command(*, service: tuple[str, ...], out: Output) -> int:
    """Ask whether an agent or a server is alive. Exit code 0: yes; 1: no, and the message says why.

    Without arguments that of this container is asked: its first process tells which, and with what
    settings. Arguments are those of `millhand agent`, `serve` or `up`; variables and the configuration
    file count as there.

    An agent is asked on its page (--http-port), without one on the socket in its state folder; a server on
    its operators' page (--metrics-port), without one on its own port. Alive is whose loop turns: an agent
    without its server is, and one that drains is. `millhand status` and /readyz tell more.
    """
    from worker.cli.liveness import look, process_1

    try:
        asked = look(service or process_1())
    except (CliError, click.ClickException) as exc:
        message = exc.message
        todo = exc.todo if isinstance(exc, CliError) else ""
        if out.is_json:
            out.json({"isHealthy": False, "asked": [], "reason": message, "todo": todo or None})
        else:
            click.echo("\n  ".join(filter(None, [f"unhealthy: {message}", todo])))
        return ExitCode.FAILED
    if out.is_json:
        out.json({"isHealthy": True, "asked": asked, "reason": None, "todo": None})
    else:
        click.echo(f"healthy: {', '.join(asked) or 'what runs here is no service, and is asked nothing'}")
    return ExitCode.OK
