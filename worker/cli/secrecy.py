"""Close a long-lived process of ours to others, before it reads a secret."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
from msgspec.structs import replace

from worker.cli.setting import Setting
from worker.cli.settings import ALL_SETTINGS
from worker.config import AgentConfig
from worker.executor.named_secrets import VARIABLE_PREFIX, secret_variables

__all__ = ["guard_secrets", "with_hidden_config"]


def guard_secrets(settings: Iterable[Setting], *, has_named: bool = False) -> None:
    """Close this process, and wipe settings that are secrets from its environment and arguments.

    Click has read them. What is started from here on does not inherit them. With `has_named` so are the
    secrets that handlers ask for by name, which were read with the agent's settings.
    """
    from worker.agent.own_secrets import keep_to_itself, wipe_settings

    secret = [setting for setting in settings if setting.is_secret]
    keep_to_itself()
    named = [VARIABLE_PREFIX + name for name in secret_variables(os.environ) if has_named]
    wipe_settings([*named, *(setting.variable for setting in secret)], [setting.flag for setting in secret])


def with_hidden_config(config: AgentConfig) -> AgentConfig:
    """Hide the configuration file from handlers, where it holds a secret."""
    ctx = click.get_current_context()
    path = ctx.meta.get("millhand.config")
    if path is None or not any(one.is_secret and one.name in (ctx.default_map or {}) for one in ALL_SETTINGS):
        return config
    return replace(config, hide=(*config.hide, str(path.absolute())))
