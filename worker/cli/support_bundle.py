"""`millhand support-bundle`: one file with all that somebody needs who is to help, and no secret."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from msgspec.structs import replace

from worker.cli import human
from worker.cli.agent_here import AgentHere
from worker.cli.agent_settings import AGENT_SETTINGS, build_agent
from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import with_settings
from worker.cli.terminal import Output, output_options
from worker.config import AgentConfig, ApiConfig

if TYPE_CHECKING:
    from worker.cli.bundle_parts import Part
    from worker.redaction import Redactor

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

LIMIT_S: Final = 120.0  # for what is looked at and may hang: server, GPUs, cloud
LINES: Final = 2000
MEANINGS: Final = {
    "doctor.json": "what `millhand doctor` finds",
    "facts.json": "what this machine is",
    "settings.json": "the agent's settings and where each comes from; of secrets, only whether they are set",
    "journal.json": "runs that are not delivered: ids, types, how they ended; neither results nor parameters",
    "status.json": "how the running agent stands",
    "metrics.txt": "its numbers",
    "stacks.txt": "what its threads and tasks are at: files, lines, functions",
    "log.txt": "the last lines of its log",
    "versions.json": "Python, packages, system",
    "limits.json": "limits of its process and control group, room and sizes in its state folder",
}
NOTE: Final = """\
Tokens and secrets that this machine's settings name were taken out in every form that millhand knows, and
so was what looks like credentials. Names of hosts, files, users and types of tasks are in it: read it before
you give it away.
"""


def settings_of_agent(function: F) -> F:
    """Give a command the settings of the agent; its `--output`, of runs, has another name here."""
    settings = tuple(
        replace(setting, flag_name="run-output") if setting.name == "output" else setting
        for setting in AGENT_SETTINGS
    )
    return with_settings("Agent", settings, build_agent, "agent")(function)


@make_command(
    "support-bundle",
    examples="""
millhand support-bundle
millhand support-bundle --state-dir /var/lib/millhand --log /var/log/millhand.log
millhand support-bundle --output /tmp/tonight.tar.gz && tar tzf /tmp/tonight.tar.gz
""",
)
@click.option(
    "--output", "-o", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The new file; by itself millhand-support-HOST-TIME.tar.gz, here.",
)  # fmt: skip
@click.option(
    "--log", "log_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The agent's log; by itself the system's journal of millhand's services.",
)  # fmt: skip
@click.option(
    "--lines", type=click.IntRange(0, 100_000), default=LINES, show_default=True, metavar="N",
    help="The last lines of the log.",
)  # fmt: skip
@output_options
@settings_of_agent
@api_settings
@click.pass_context
def command(
    ctx: click.Context,
    *,
    agent: Callable[[ApiConfig], AgentConfig],
    api: ApiConfig,
    file: Path | None,
    log_file: Path | None,
    lines: int,
    out: Output,
) -> int:
    """Write one new file (tar.gz) for whoever is to help, with what stands in its CONTENTS.txt.

    Give it the settings of the agent. It asks the running agent by its socket; without one, its parts are
    left out, and say why. Tokens and secrets are not in it; read it all the same before you give it away.
    """
    from worker.cli.bundle_archive import archived, write_new
    from worker.cli.bundle_parts import gathered
    from worker.cli.bundle_secrets import redactor_of

    now = datetime.now(UTC)
    name = f"millhand-support-{platform.node() or 'host'}-{now:%Y%m%dT%H%M%SZ}"
    path = file or Path(f"{name}.tar.gz")
    if os.path.lexists(path):
        raise exists(path)
    config = agent(with_known_token(api))
    redactor = redactor_of(config, {**(ctx.default_map or {}), **ctx.params}, os.environ)
    parts = parts_of(ctx, config, log_file, lines, redactor)
    files = [gathered(part, make, redactor) for part, make in parts.items()]
    files.insert(0, ("CONTENTS.txt", contents([name for name, _ in files], now).encode()))
    try:
        content = archived(name, files)
        write_new(path, content)
    except FileExistsError as exc:
        raise exists(path) from exc
    except OSError as exc:
        said = f"{path}: {exc.strerror or exc}; nothing was written"
        raise CliError(said, "name another place by --output", code=ExitCode.CONFIGURATION) from exc
    told(out, path, content, [name for name, _ in files])
    return 0


def with_known_token(api: ApiConfig) -> ApiConfig:
    """Return the settings with a token, where one can be had: to help is to work without one, too."""
    from worker.cli.session import with_token

    try:
        return with_token(api)
    except CliError:
        return api


def exists(path: Path) -> CliError:
    """Return the error of a file that is there."""
    return CliError(
        f"{path} exists already", "name a new file by --output: nothing is written over", code=ExitCode.USAGE
    )


def parts_of(
    ctx: click.Context, config: AgentConfig, log_file: Path | None, lines: int, redactor: Redactor
) -> dict[str, Part]:
    """Return what makes each part."""
    from worker.cli import bundle_parts as made

    here = AgentHere(config.state_dir)

    def given(setting: str) -> Any:
        return ctx.get_parameter_source(setting)

    return {
        "doctor.json": lambda: doctor(config, ctx, redactor),
        "facts.json": lambda: facts(config, redactor),
        "settings.json": lambda: made.settings_part(ctx.params, given, redactor),
        "journal.json": lambda: made.journal_part(config.state_dir, redactor),
        "status.json": lambda: made.as_json(redactor.value(here.ask("status"))),
        "metrics.txt": lambda: str(here.ask("metrics")["text"]),
        "stacks.txt": lambda: str(here.ask("stacks")["text"]),
        "log.txt": lambda: made.log_part(log_file, lines, here),
        "versions.json": made.versions,
        "limits.json": lambda: made.limits(config.state_dir, here.pid),
    }


def doctor(config: AgentConfig, ctx: click.Context, redactor: Redactor) -> str:
    """Return what `millhand doctor` finds."""
    from worker.cli.bundle_parts import as_json
    from worker.cli.doctor import examine

    checks = asyncio.run(asyncio.wait_for(examine(config, ctx), LIMIT_S))
    return as_json(redactor.value([check.as_json() for check in checks]))


def facts(config: AgentConfig, redactor: Redactor) -> str:
    """Return what this machine is."""
    from worker.cli.bundle_parts import as_json
    from worker.cli.facts import detect_facts
    from worker.machine.detect import as_machine

    found = asyncio.run(asyncio.wait_for(detect_facts(config), LIMIT_S))
    return as_json(redactor.value(as_machine(found)))


def contents(names: list[str], now: datetime) -> str:
    """Return what stands in which file."""
    width = max(map(len, names))
    said = [
        f"{name:<{width}}  {MEANINGS[name.removesuffix('.failed')]}"
        + " - it could not be had: the file says why" * name.endswith(".failed")
        for name in names
    ]
    return f"Of {platform.node()}, {now:%Y-%m-%d %H:%M:%S} UTC.\n\n" + "\n".join(said) + f"\n\n{NOTE}"


def told(out: Output, path: Path, content: bytes, names: list[str]) -> None:
    """Say what was written."""
    if out.is_json:
        out.json({"file": path, "sizeBytes": len(content), "contents": names})
    failed = [name.removesuffix(".failed") for name in names if name.endswith(".failed")]
    out.say(f"wrote {path} ({human.size(len(content))}): {', '.join(names)}")
    if failed:
        out.note(f"could not be had, and why stands in the bundle: {', '.join(failed)}")
    out.say("no token is in it; names of hosts, files and types are: read it before you give it away")
