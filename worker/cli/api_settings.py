"""How a command reaches the Jobs API: its settings, and the configuration that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from worker.cli.config_fields import API, field_name
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import Setting, with_settings
from worker.cli.values import DURATION, FILE
from worker.config import ApiConfig

__all__ = ["API_SETTINGS", "api_settings"]

F = TypeVar("F", bound=Callable[..., Any])

API_SETTINGS: Final = (
    Setting(name="api_url", default=API["url"], metavar="URL", help="Where the Jobs API answers."),
    Setting(name="token", metavar="TOKEN", is_secret=True,
            help="Token of the API; as a flag, every user here sees it."),
    Setting(name="token_file", type=FILE, metavar="FILE",
            help="File that holds the token; read again when it changes; wins over the token itself."),
    Setting(name="org_id", metavar="ID", help="Only this organisation."),
    Setting(name="ca_file", type=FILE, metavar="FILE", help="PEM file of the authorities to trust."),
    Setting(name="client_cert", type=FILE, metavar="FILE", help="PEM certificate to show to the API."),
    Setting(name="client_key", type=FILE, metavar="FILE", help="Its PEM key, if in a file of its own."),
    Setting(name="proxy", metavar="URL", is_secret=True, help="HTTP proxy on the way to the API."),
    Setting(name="wire", type=click.Choice(["json", "strings"]), default=API["wire"],
            help="How bodies of runs are written: JSON values, or every field as a string."),
    Setting(name="request_timeout", type=DURATION, default=API["request_timeout_s"], metavar="TIME",
            help="Limit of one request, its answer included."),
)  # fmt: skip


def api_settings(function: F) -> F:
    """Give a command the settings of the API, as `api: ApiConfig`."""
    return with_settings("Jobs API", API_SETTINGS, build_api, "api")(function)


def is_address(url: str) -> bool:
    """Tell whether requests can be sent to a URL; the system takes a port that is none as another one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False


def build_api(given: Mapping[str, Any]) -> ApiConfig:
    """Return how to reach the API.

    Raises: CliError where the address is none.
    """
    url = given["api_url"]
    if not is_address(url):
        raise CliError(
            f"{url!r} is not the address of a Jobs API",
            "set --api-url or MILLHAND_API_URL to something like http://127.0.0.1:8077",
            code=ExitCode.CONFIGURATION,
        )
    return ApiConfig(**{field_name(name): value for name, value in given.items()})
