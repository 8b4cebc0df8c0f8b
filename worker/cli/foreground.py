"""`millhand up` while it runs: forward what both say, and end both in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from worker.cli.exits import CliError, ExitCode
from worker.cli.local import ADDRESS_NAME, keep_token, write_address
from worker.cli.mill import Layout, Mill, check_port
from worker.cli.stopping import stopping_on_signals

__all__ = ["run_up"]


async def run_up(
    folder: Path, port: int, store: str, agent: Mapping[str, Any], variables: Mapping[str, str]
) -> int:
    """Run server and agent until somebody stops them; return the exit code.

    Raises: CliError where one of them ends by itself.
    """
    check_port(port)
    layout = Layout(
        folder=folder,
        port=port,
        token_file=keep_token(folder),
        store=store,
        drain_timeout_s=agent["drain_timeout"],
    )
    mill = Mill(layout, {**variables, "MILLHAND_STORE": layout.store}, forward)
    with stopping_on_signals(mill.kill) as stopping:
        try:
            async with mill:
                write_address(folder, layout.url)
                click.echo(greeting(layout), err=True)
                end = asyncio.create_task(mill.first_end())
                asked = asyncio.create_task(stopping.asked())
                await asyncio.wait({end, asked}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.signal is None:
                    raise await stop_other(mill, end)
                click.echo("stopping: tasks may finish; once more Ctrl-C ends them now", err=True)
                asked.cancel()
                end.cancel()
                ended_well = await mill.stop()
        finally:
            (folder / ADDRESS_NAME).unlink(missing_ok=True)
    if stopping.is_forced:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if ended_well else ExitCode.FAILED


async def stop_other(mill: Mill, end: asyncio.Task[Any]) -> CliError:
    """Stop what still runs after one ended, and return the error that says which and why."""
    child = await end
    click.echo(f"{child.ended()}; stopping the rest", err=True)
    await mill.stop()
    return CliError(child.ended(), f"what the {child.name} said before stands above; nothing is left running")


def forward(name: str, line: str) -> None:
    """Write a line of a child."""
    click.echo(f"{name:<6} | {line}", err=True)


def greeting(layout: Layout) -> str:
    """Say where it is and how to give it work."""
    return (
        f"millhand is up at {layout.url} (state: {layout.folder})\n"
        f"  look:    {layout.url}/ in a browser (the token to sign in: {layout.token_file})\n"
        "  submit:  millhand submit sleep -p seconds=3 --wait"
        + ("" if layout.port == 8077 else f" --api-url {layout.url}")
        + f"\n  others:  MILLHAND_API_URL={layout.url} MILLHAND_TOKEN_FILE={layout.token_file}\n"
        "  stop:    Ctrl-C"
    )
