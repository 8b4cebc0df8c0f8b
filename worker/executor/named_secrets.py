"""Secrets that handlers ask for by name, from this machine: a file each, or a variable each.

A file wins, and is read at each run, so that a secret can be renewed. Kubernetes, systemd
(``LoadCredential=``) and docker mount secrets as such folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

__all__ = ["VARIABLE_PREFIX", "MissingSecret", "NamedSecrets", "secret_variables"]

VARIABLE_PREFIX: Final = "MILLHAND_SECRET_"
MAX_BYTES: Final = 16 * 1024  # what is larger is a file, not a secret


class MissingSecret(Exception):  # noqa: N818 - what it is
    """A secret that a handler asks for is not here; the message says which, and how to provide it."""


class NamedSecrets:
    """Where the secrets of this machine are."""

    def __init__(self, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> None:
        """Take the folder of files, and values by the secret's name."""
        self._folder = None if folder is None else folder.expanduser().absolute()
        self._variables = dict(variables or {})

    def read(self, names: Iterable[str]) -> dict[str, str]:
        """Return the secrets as they are now; may block, on a network disk.

        Raises:
            MissingSecret: one of them is not here, or cannot be read.
        """
        found = {name: self._one(name) for name in names}
        if problems := [said for said in found.values() if isinstance(said, MissingSecret)]:
            raise MissingSecret("; ".join(map(str, problems)))
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def lacks(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return what is wrong with each secret that cannot be given, and what to do."""
        return tuple(str(said) for name in names if isinstance(said := self._one(name), MissingSecret))

    def _one(self, name: str) -> str | MissingSecret:
        """Return a secret, or why it cannot be had."""
        path = None if self._folder is None else self._folder / name
        if path is not None:
            try:
                with path.open("rb") as file:
                    value = file.read(MAX_BYTES + 2).decode().removesuffix("\n")
            except FileNotFoundError:
                pass
            except OSError as exc:
                return MissingSecret(f"secret {name}: {path} cannot be read: {exc.strerror}")
            except UnicodeDecodeError:
                return MissingSecret(f"secret {name}: {path} is no text in UTF-8")
            else:
                return checked(name, value, str(path))
        if (given := self._variables.get(name)) is not None:
            return checked(name, given, VARIABLE_PREFIX + name)
        place = "a file of that name in the folder MILLHAND_SECRETS_DIR" if path is None else str(path)
        todo = f"put it into {place}, or into the variable {VARIABLE_PREFIX}{name}"
        return MissingSecret(f"secret {name} is not on this machine; {todo}")


def checked(name: str, value: str, where: str) -> str | MissingSecret:
    """Return a value that can be a secret."""
    if not value:
        return MissingSecret(f"secret {name}: {where} is empty")
    if len(value.encode()) > MAX_BYTES:
        return MissingSecret(f"secret {name}: {where} has more than {MAX_BYTES} bytes")
    return value


def secret_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that stand in an environment, by their names."""
    return {
        variable.removeprefix(VARIABLE_PREFIX): value
        for variable, value in environment.items()
        if variable.startswith(VARIABLE_PREFIX) and variable != VARIABLE_PREFIX
    }
