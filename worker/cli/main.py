"""The command `millhand`: subcommands that load when they are used, and errors a person can act on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from worker.cli.exits import CliError, ExitCode, describe_exit_codes

__all__ = ["COMMANDS", "main"]


class Entry(NamedTuple):
    """Where a command lives, and what it does in one line (shown without loading it)."""

    module: str
    summary: str


SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Start": {
        "up": Entry("up", "Start server and agent on this machine; --demo shows them at work."),
        "serve": Entry("serve", "Serve the Jobs API."),
        "token": Entry("token", "Make, list and revoke tokens of a server of ours."),
        "agent": Entry("agent", "Work: poll, claim and run tasks, and report."),
    },
    "Give work": {
        "submit": Entry("submit", "Create a job: a task per file or set of parameters."),
        "run": Entry("run", "Run one handler here, without a server."),
    },
    "Look and steer": {
        "jobs": Entry("jobs", "List jobs, or show one."),
        "tasks": Entry("tasks", "List tasks, or show one."),
        "runs": Entry("runs", "List runs, or show one with its results, usage and machine."),
        "watch": Entry("watch", "Follow a job until it is done."),
        "pause": Entry("steer:pause", "Start nothing new of a job; with --agent, claim nothing here."),
        "resume": Entry("steer:resume", "Go on with a paused job; with --agent, claim again here."),
        "cancel": Entry("steer:cancel", "Stop a job and what runs of it."),
        "reap": Entry("reap", "Give up runs that are silent for long, and requeue their tasks."),
    },
    "The agent here": {
        "status": Entry("status", "How the running agent stands: runs, holds, GPUs, journal, server."),
        "health": Entry(
            "health", "Whether the agent or server of this container is alive: for health checks."
        ),
        "drain": Entry("drain", "Let the running agent finish and end."),
    },
    "This machine": {
        "facts": Entry("facts", "What this machine is, value by value with its source."),
        "handlers": Entry("handlers", "What is installed, with the parameters of each."),
        "journal": Entry(
            "journal", "What the agent here has not delivered yet: show, keep, send again, forget."
        ),
        "doctor": Entry("doctor", "Find what is wrong here, and what to do about it."),
        "support-bundle": Entry("support_bundle", "Write one file for whoever is to help; without secrets."),
        "completion": Entry("completion", "Print the shell's completion script."),
    },
}
COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

EXAMPLES: Final = """\
  millhand up                                       server and agent, here
  millhand submit mesh-convert a.glb -p format=stl --wait
  millhand run my_handler.py -p size=64             try a handler, no server
  millhand jobs                                     what is going on
"""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used, and not for the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if (entry := COMMANDS.get(cmd_name)) is None:
            return None
        module, _, attribute = entry.module.partition(":")
        command = getattr(import_module(f"worker.cli.{module}"), attribute or "command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; name the nearest where there is none."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"there is no command {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by subject, from the table."""
        width = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in section.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and exit codes."""
        with formatter.section("Examples"):
            formatter.write(EXAMPLES)
        with formatter.section("Exit codes"):
            formatter.write("".join(f"  {line}\n" for line in describe_exit_codes().splitlines()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names from the table, without loading anything."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Print the version and end."""
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"millhand {version('millhand')} (Python {sys.version.split()[0]})")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version,
    help="Show the version and exit.",
)  # fmt: skip
def group() -> None:
    """A worker agent for the Jobs API, and the API itself.

    Every command has its own --help with examples. Settings come from flags, from MILLHAND_* variables,
    from a TOML file, in this order; each command's help names the variable and the default of each.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    stay_with_parent()
    given = list(sys.argv[1:] if args is None else args)
    code = run(given or ["--help"])
    flush()
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run the command line and return its exit code; every failure is told on stderr."""
    try:
        result = group.main(args, prog_name="millhand", standalone_mode=False)
        return result if isinstance(result, int) else ExitCode.OK
    except CliError as exc:
        return tell(exc.message, exc.todo, exc.code, args)
    except click.exceptions.ClickException as exc:
        return tell_click(exc, args)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.OK  # who read our output has had enough
    except Exception as exc:  # noqa: BLE001 - the last resort: no traceback for people
        return tell_bug(exc, args)


def tell(message: str, todo: str, code: ExitCode, args: list[str]) -> int:
    """Write an error to stderr, and to stdout for a program that asked for JSON; return the code."""
    from worker.cli.terminal import no_color, print_json

    paint = sys.stderr.isatty() and not no_color("--no-color" in args)
    label = click.style("error:", fg="red", bold=True) if paint else "error:"
    click.echo(f"{label} {message}", err=True, color=paint)
    if todo:
        click.echo(f"  {todo}", err=True)
    if "--json" in args:
        print_json({"error": {"message": message, "todo": todo or None, "exitCode": int(code)}})
    return code


def tell_click(exc: click.exceptions.ClickException, args: list[str]) -> int:
    """Tell of a command line that is wrong, or of a value from environment or file that is."""
    ctx = getattr(exc, "ctx", None)
    where = ctx.command_path if ctx is not None else "millhand"
    todo = f"see: {where} --help"
    if isinstance(exc, click.BadParameter) and ctx is not None and exc.param is not None:
        origin, code = origin_of(ctx, exc.param)
        if code is ExitCode.CONFIGURATION:
            return tell(f"{origin}: {reworded(exc.message)}", todo, code, args)
    return tell(reworded(exc.format_message()), todo, ExitCode.USAGE, args)


def reworded(message: str) -> str:
    """Return a message of click without its words for numbers, which mislead."""
    return message.replace("valid integer range", "whole number").replace("valid float range", "number")


def origin_of(ctx: click.Context, param: click.Parameter) -> tuple[str, ExitCode]:
    """Return where a parameter's value came from, and the exit code if it is wrong."""
    from click.core import ParameterSource

    source = ctx.get_parameter_source(param.name or "")
    if source is ParameterSource.ENVIRONMENT:
        return f"environment variable {param.envvar}", ExitCode.CONFIGURATION
    if source is ParameterSource.DEFAULT_MAP:
        return f"{param.name!r} in {ctx.meta.get('millhand.config')}", ExitCode.CONFIGURATION
    return "command line", ExitCode.USAGE


def tell_bug(exc: Exception, args: list[str]) -> int:
    """Tell of a fault of ours; the traceback is for those who ask."""
    if os.environ.get("MILLHAND_DEBUG"):
        import traceback

        click.echo("".join(traceback.format_exception(exc)), err=True)
    return tell(
        f"millhand failed: {type(exc).__name__}: {exc}",
        "this is a fault of millhand; MILLHAND_DEBUG=1 shows where",
        ExitCode.INTERNAL,
        args,
    )


def stay_with_parent() -> None:
    """End with the process that started us, if it asked for it (`millhand up` does)."""
    if parent := os.environ.pop("MILLHAND_PARENT_PID", None):
        from worker.cli.children import end_with_parent

        end_with_parent(int(parent))


def flush() -> None:
    """Flush stdout; a reader that is gone is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
