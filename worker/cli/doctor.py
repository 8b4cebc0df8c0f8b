"""`millhand doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from worker.cli import human
from worker.cli.agent_settings import agent_settings
from worker.cli.api_settings import api_settings
from worker.cli.checks import Check, fail, ok, warn
from worker.cli.command import command as make_command
from worker.cli.exits import ExitCode
from worker.cli.needs_linux import INSTEAD
from worker.cli.terminal import Output, output_options
from worker.config import AgentConfig, ApiConfig

if TYPE_CHECKING:
    from worker.executor.catalogue import Catalogue
    from worker.executor.named_secrets import NamedSecrets

__all__ = ["command"]

WANTED = "where its tasks shall run here, give the machine what it names"


@make_command(
    "doctor",
    examples="""
millhand doctor
millhand doctor --api-url https://jobs.example.com --token-file token
millhand doctor --json | jq '.checks[] | select(.state != "ok")'
""",
)
@output_options
@agent_settings
@api_settings
@click.pass_context
def command(
    ctx: click.Context, *, agent: Callable[[ApiConfig], AgentConfig], api: ApiConfig, out: Output
) -> int:
    """Look at everything that an agent with these settings needs; exit 1 if something keeps it from working.

    Give it the settings of the agent. Nothing is changed.
    """
    checks = asyncio.run(examine(agent(api), ctx))
    if out.is_json:
        out.json({"ok": not has_failed(checks), "checks": [check.as_json() for check in checks]})
    else:
        show(out, checks)
    return ExitCode.FAILED if has_failed(checks) else ExitCode.OK


async def examine(config: AgentConfig, ctx: click.Context) -> list[Check]:
    """Look at everything."""
    from worker import log
    from worker.cli.check_disk import check_disk
    from worker.cli.check_gpus import check_gpu_health, check_gpus, check_quarantine
    from worker.cli.check_isolation import check_isolation
    from worker.cli.check_machine import check_facts, check_state_dir
    from worker.cli.check_server import check_server
    from worker.cli.check_setup import check_config_file, check_packages, check_token, check_variables
    from worker.cli.check_surroundings import check_cloud, check_memory
    from worker.cli.handlers import read_catalogue
    from worker.cli.session import with_token
    from worker.cli.templates import check_templates
    from worker.executor.linux import unfit_reason
    from worker.executor.named_secrets import NamedSecrets
    from worker.machine.detect import clouds_of, detect_configured

    log.configure("error")
    settled = [
        check_config_file(ctx.meta.get("millhand.config"), ctx.default_map or {}),
        check_variables(os.environ),
        check_packages(),
    ]
    if reason := unfit_reason():
        return [fail("system", reason, INSTEAD), *settled, check_token(with_token(config.api))]
    clouds = clouds_of(config, os.environ)
    facts = await detect_configured(config, os.environ, clouds)
    catalogue = await read_catalogue(config)
    checks = [
        *settled,
        check_state_dir(config.state_dir),
        *check_disk(config),
        *check_isolation(config),
        check_memory(config),
        check_gpus(facts),
        check_cloud(facts, clouds),
        *await check_gpu_health(facts, os.environ, is_shared=config.gpu_shared),
        *check_quarantine(config.state_dir, datetime.now(UTC)),
        check_facts(facts),
        *check_handlers(catalogue),
        *check_templates(config.command_templates),
        *check_secrets(catalogue, NamedSecrets(config.secrets_dir, config.secrets)),
    ]
    return [*checks, check_token(with_token(config.api)), *await check_server(config, facts, catalogue.types)]


def check_handlers(catalogue: Catalogue) -> list[Check]:
    """Say which types can run here, and what is broken and why."""
    lame = [entry for entry in catalogue.entries.values() if entry.problem]
    broken = [(entry.type, entry.problem) for entry in lame if entry.is_broken]
    broken += [(problem.source, problem.message) for problem in catalogue.problems]
    said = ", ".join(catalogue.types)
    first = (
        ok("handlers", said)
        if said
        else fail("handlers", "there are none that can run", "install some, or name them: --handlers")
    )
    todo = "`millhand handlers` shows where; mend or remove it"
    return [
        first,
        *(warn(f"handler {name}", f"cannot run here: {why}", todo) for name, why in broken),
        *(warn(f"handler {one.type}", one.problem or "", WANTED) for one in lame if not one.is_broken),
    ]


def check_secrets(catalogue: Catalogue, here: NamedSecrets) -> list[Check]:
    """Say which types get no tasks here, because a secret that they ask for is missing."""
    return [
        warn(f"handler {type_}", f"gets no tasks here: {lack}", "provide it; a running agent sees it at once")
        for type_ in catalogue.types
        for lack in here.lacks(catalogue.secrets_of(type_))
    ]


def has_failed(checks: list[Check]) -> bool:
    """Tell whether something keeps the agent from its work."""
    return any(check.state == "fail" for check in checks)


def show(out: Output, checks: list[Check]) -> None:
    """Write the table, and what to do below what is not well."""
    from rich.text import Text

    from worker.cli.view import status_text, table

    made = table("", "check", "what was found")
    for check in checks:
        said = Text(check.said)
        if check.todo:
            said.append(f"\n→ {check.todo}", style="bold")
        made.add_row(status_text(check.state), Text(check.name), said)
    out.table(made)
    bad, odd = (sum(check.state == state for check in checks) for state in ("fail", "warn"))
    out.say(f"{bad} failed, {human.count(odd, 'warning')}" if bad or odd else "everything is well")
