"""`millhand up`: server and agent in one process tree on this machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from worker.cli import paths
from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.needs_linux import require_linux
from worker.cli.server_settings import SERVER_SETTINGS
from worker.cli.setting import with_settings
from worker.cli.settings import ALL_SETTINGS, LOG_SETTINGS
from worker.cli.terminal import Output, text_output_options

__all__ = ["command"]

TAKEN: Final = (
    "handlers", "types", "labels", "commands", "command_templates", "images", "container_engine",
    "container_network", "container_user", "store", "drain_timeout", "timeout", "hardening",
)  # fmt: skip
SETTINGS: Final = tuple(setting for setting in AGENT_SETTINGS if setting.name in TAKEN)
OF_SERVER: Final = tuple(setting for setting in SERVER_SETTINGS if setting.name == "server_prices")
PORT: Final = 8077


@make_command(
    "up",
    examples="""
millhand up                            # http://127.0.0.1:8077, state below ~/.local/state/millhand/up
millhand up --demo                     # convert real models, show the table, end by itself
millhand up --demo --keep              # the same, and keep what was made
millhand up --handlers my_handlers.py --concurrency 4
""",
)
@click.option("--demo", is_flag=True, help="Show it at work: real tasks on real models, then end.")
@click.option("--keep", is_flag=True, help="With --demo: keep the files that were made, and say where.")
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="PORT", envvar="MILLHAND_UP_PORT", show_envvar=True,
    show_default=f"{PORT}; --demo: a free one", help="Port of the server, on 127.0.0.1.",
)  # fmt: skip
@click.option(
    "--state-dir", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    show_default="$XDG_STATE_HOME/millhand/up; --demo: a temporary one",
    help="Where database, token, journal and files are kept.",
)  # fmt: skip
@click.option(
    "--concurrency", type=click.IntRange(1, 1024), metavar="N", envvar="MILLHAND_CONCURRENCY",
    show_envvar=True, show_default="2, or one for each CPU up to 4", help="How many tasks run at once.",
)  # fmt: skip
@with_settings("Agent", SETTINGS, dict, "agent")
@with_settings("Server", OF_SERVER, dict, "server")
@with_settings("Logs", LOG_SETTINGS[:1], dict, "logs")
@text_output_options
def command(
    *,
    demo: bool,
    keep: bool,
    port: int | None,
    folder: Path | None,
    concurrency: int | None,
    agent: Mapping[str, Any],
    server: Mapping[str, Any],
    logs: Mapping[str, Any],
    out: Output,
) -> int:
    """Start the Jobs API and an agent on this machine, and stop both with Ctrl-C.

    The token is made at the first start and kept in the state folder; other commands on this machine
    find it there. If one of the two ends by itself, the other is stopped, and the exit code is not 0.
    """
    from worker.cli.secrecy import guard_secrets

    require_linux()
    guard_secrets(ALL_SETTINGS)
    check_extras(demo)
    slots = concurrency or max(2, min(4, os.cpu_count() or 2))
    variables = child_variables({**agent, **server, **logs, "concurrency": slots})
    if demo:
        from worker.cli.demo import run_demo

        if slots < 2:
            raise CliError(
                "the demo shows tasks side by side", "give --concurrency 2 or more", code=ExitCode.USAGE
            )
        return run_demo(folder, port, keep, variables, out)
    from worker.cli.foreground import run_up

    target = folder or paths.up_state_dir()
    with locked(target):
        store = agent["store"] or str((target / "artifacts").absolute())
        return asyncio.run(run_up(target, port or PORT, store, agent, variables))


def check_extras(demo: bool) -> None:
    """Raise CliError where a part is not installed that this needs."""
    from importlib.util import find_spec

    wanted = {"starlette": "server", "uvicorn": "server"} | ({"trimesh": "mesh"} if demo else {})
    if missing := sorted({extra for module, extra in wanted.items() if find_spec(module) is None}):
        extras = ",".join(missing)
        raise CliError(
            f"millhand is installed without the extra {extras!r}",
            f"pip install 'millhand[{extras}]'",
            code=ExitCode.CONFIGURATION,
        )


def child_variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as the environment of a child says them."""
    return {
        f"MILLHAND_{name.upper()}": written(value) for name, value in settings.items() if value is not None
    }


def written(value: Any) -> str:
    """Return one value as a variable holds it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={part}" for key, part in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder for one `millhand up`.

    Raises: CliError where another one holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "up.lock").open("w")
    except OSError as exc:
        raise CliError(
            f"state folder {folder}: {exc.strerror}",
            "choose another: --state-dir",
            code=ExitCode.CONFIGURATION,
        ) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError(
                f"another `millhand up` uses {folder}",
                "stop it, or give this one --state-dir and --port",
                code=ExitCode.CONFIGURATION,
            ) from None
        yield
