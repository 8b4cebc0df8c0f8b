"""`millhand agent`: the worker agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from worker.cli.agent_settings import AGENT_SETTINGS, agent_settings
from worker.cli.api_settings import API_SETTINGS, api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.lean import load_lean, settle, share_one_heap
from worker.cli.needs_linux import require_linux
from worker.config import AgentConfig, ApiConfig

__all__ = ["command"]


@make_command(
    "agent",
    logs=True,
    examples="""
MILLHAND_TOKEN_FILE=token millhand agent                     # http://127.0.0.1:8077, one slot
millhand agent --api-url https://jobs.example.com --concurrency 4
millhand agent --handlers my_handlers.py --types render,convert
millhand agent --labels room=lab --labels scanner=yes        # for tasks that require them
millhand agent --http-port 9400                              # curl localhost:9400/status
""",
)
@agent_settings
@api_settings
def command(
    *, agent: Callable[[ApiConfig], AgentConfig], api: ApiConfig, log_level: str, log_format: Any
) -> int:
    """Work: poll for tasks, claim them, run their handlers, and report until every run has stopped.

    SIGTERM or Ctrl-C drains: nothing new is claimed, what runs may finish, everything is reported. A second
    one means now.
    """
    require_linux()
    share_one_heap()
    load_lean(*(("httpx",) if api.proxy else ()))
    from worker import log
    from worker.agent.main import own_secrets, run
    from worker.agent.statedir import StateDirBusy
    from worker.cli.secrecy import guard_secrets, with_hidden_config
    from worker.cli.session import with_token
    from worker.cli.templates import read_or_fail

    guard_secrets(API_SETTINGS + AGENT_SETTINGS, has_named=True)
    config = with_hidden_config(agent(with_token(api)))
    read_or_fail(config.command_templates)
    try:
        secrets = own_secrets(config)
        log.configure(log_level, log_format, redactor=lambda: secrets.known)
        secrets()  # they are known before the first line
        return asyncio.run(run(config, secrets, settle))
    except (OSError, ValueError, StateDirBusy) as exc:
        raise CliError(said(exc), "`millhand doctor` looks closer", code=ExitCode.CONFIGURATION) from exc


def said(exc: Exception) -> str:
    """Return what an error says, without the number that the system has for it."""
    if isinstance(exc, OSError) and exc.strerror and exc.filename:
        return f"{exc.filename}: {exc.strerror}"
    return str(exc)
