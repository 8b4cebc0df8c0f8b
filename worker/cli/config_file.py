"""The configuration file: TOML, one key per setting; what nobody knows is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from worker.cli import paths
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import CommonOption, Setting
from worker.cli.settings import ALL_SETTINGS

__all__ = ["config_option", "find_config", "read_config"]

CONFIG_BYTES_MAX = 1024 * 1024  # a larger file is not a configuration


def find_config(given: Path | None) -> Path | None:
    """Return the file to read: the given one, else the first usual place that has one."""
    if given is not None:
        return given
    return next((path for path in paths.config_candidates() if is_there(path)), None)


def is_there(path: Path) -> bool:
    """Tell whether there is a file for us; a home that is another user's, as after sudo, has none."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings of a file by name, as click takes them.

    Raises: CliError where the file cannot be read or has a key that is no setting.
    """
    known = {setting.name: setting for setting in ALL_SETTINGS}
    return {key: shaped(known, key, value, path) for key, value in parse(path).items()}


def parse(path: Path) -> dict[str, Any]:
    """Return what the TOML file holds."""
    import tomllib

    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as exc:
        raise broken(path, f"cannot be read: {exc.strerror}", "check --config or MILLHAND_CONFIG") from exc
    if len(content) > CONFIG_BYTES_MAX:
        raise broken(path, "is larger than 1 MiB", "check --config or MILLHAND_CONFIG")
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise broken(
            path, f"is not valid TOML: {exc}", "mend the file; it has lines like: concurrency = 4"
        ) from exc


def shaped(known: dict[str, Setting], key: str, value: Any, path: Path) -> Any:
    """Return one value as its option takes it."""
    if (setting := known.get(key)) is None:
        from difflib import get_close_matches

        near = get_close_matches(key, known, n=1, cutoff=0.5)
        todo = f"did you mean {near[0]!r}?" if near else "`millhand agent --help` lists the settings"
        raise broken(path, f"has {key!r}, which is no setting", todo)
    if setting.kind == "pairs" and isinstance(value, dict):
        return [(name, str(part)) for name, part in value.items()]
    if setting.kind in {"words", "pairs"} and isinstance(value, str):
        return [value] if setting.kind == "words" else value.split(",")
    if isinstance(value, dict) or (isinstance(value, list) and setting.kind == "value"):
        raise broken(
            path, f"has a {'table' if isinstance(value, dict) else 'list'} as {key!r}", "give it one value"
        )
    return value


def broken(path: Path, what: str, todo: str) -> CliError:
    """Return the error of a file."""
    return CliError(f"configuration file {path} {what}", todo, code=ExitCode.CONFIGURATION)


def load(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Let the file's values stand below the environment and above the defaults."""
    if ctx.resilient_parsing:
        return value
    path = find_config(value)
    ctx.default_map = read_config(path) if path else {}
    ctx.meta["millhand.config"] = path
    return path


config_option = click.option(
    "--config",
    cls=CommonOption,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    envvar="MILLHAND_CONFIG",
    show_envvar=True,
    show_default="~/.config/millhand/config.toml, else /etc/millhand/config.toml",
    is_eager=True,
    expose_value=False,
    callback=load,
    help="TOML file with settings: a key is a variable's name without MILLHAND_, in lower case.",
)
