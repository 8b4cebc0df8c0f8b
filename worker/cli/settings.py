"""Every setting, once. Flag, variable and key of the file follow from the name (see `setting`)."""

from __future__ import annotations

from typing import Final

import click

from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.api_settings import API_SETTINGS
from worker.cli.server_settings import SERVER_SETTINGS
from worker.cli.setting import Setting

__all__ = ["ALL_SETTINGS", "LOG_SETTINGS"]

LOG_SETTINGS: Final = (
    Setting(name="log_level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
            help="The least that is logged."),
    Setting(name="log_format", type=click.Choice(["auto", "text", "json"]), default="auto",
            help="How it is logged to stderr; auto: text on a terminal, else JSON lines."),
)  # fmt: skip

ALL_SETTINGS: Final = API_SETTINGS + AGENT_SETTINGS + SERVER_SETTINGS + LOG_SETTINGS
