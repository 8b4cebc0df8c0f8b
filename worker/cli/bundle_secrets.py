"""Every secret that this machine's settings name, so that none of them leaves it in a support bundle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from worker.cli.settings import ALL_SETTINGS
from worker.config import AgentConfig
from worker.redaction import Redactor

__all__ = ["redactor_of"]

SECRET_BYTES_MAX: Final = 64 << 10  # of a file; what is larger is none
FILES_MAX: Final = 1000  # of a folder of secrets
TOKEN_FILES: Final = ("token_file", "server_token_file", "server_db_file", "store_token_file", "client_key")


def redactor_of(config: AgentConfig, given: Mapping[str, Any], environment: Mapping[str, str]) -> Redactor:
    """Return what knows all of them.

    Args:
        config: the agent's, with its token where one can be had.
        given: settings by their name, those of the configuration file among them.
        environment: may hold those of a server and of handlers, too.
    """
    found = [*values(given, environment), *files(config, given, environment), *config.secrets.values()]
    return Redactor(secret for text in found for secret in forms(text))


def values(given: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of settings that are secret, and of variables whose names say that they are."""
    from worker.log import SECRET_KEYS

    for setting in ALL_SETTINGS:
        if setting.is_secret:
            yield from filter(None, (given.get(setting.name), environment.get(setting.variable)))
    yield from (value for name, value in environment.items() if SECRET_KEYS.search(name) and value)


def files(config: AgentConfig, given: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what stands in files that hold secrets; what we may not read, we cannot tell."""
    named = [given.get(name) or environment.get(f"MILLHAND_{name.upper()}") for name in TOKEN_FILES]
    paths = [Path(str(name)) for name in (*named, config.api.token_file) if name]
    if config.secrets_dir is not None:
        with contextlib.suppress(OSError):
            paths += list(config.secrets_dir.expanduser().iterdir())[:FILES_MAX]
    for path in paths:
        with contextlib.suppress(OSError, UnicodeDecodeError), path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
            if len(content) <= SECRET_BYTES_MAX:
                yield content.decode()


def forms(text: str) -> Iterator[str]:
    """Yield a secret, without the end of its line too, and the credentials of one that is a URL."""
    yield text
    yield text.strip()
    if "://" in text:
        with contextlib.suppress(ValueError):
            parts = urlsplit(text.strip())
            written = [part for part in (parts.username, parts.password) if part]
            yield from (form for part in written for form in (part, unquote(part)))
