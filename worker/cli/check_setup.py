"""Checks of what was configured: the file, the variables, the token, the packages that are found."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from worker.cli.checks import Check, fail, ok, warn
from worker.cli.setting import PREFIX
from worker.cli.settings import ALL_SETTINGS
from worker.config import ApiConfig
from worker.executor.named_secrets import VARIABLE_PREFIX
from worker.machine.kubernetes import POD_UID, REQUEST_CPU, REQUEST_CPU_MILLICORES, REQUEST_MEMORY

__all__ = ["check_config_file", "check_packages", "check_token", "check_variables"]

OTHERS: Final = frozenset({
    "MILLHAND_CHROMIUM", "MILLHAND_CHROMIUM_SANDBOX",  # of the handler `render-webgl`
    "MILLHAND_CONFIG", "MILLHAND_DEBUG", "MILLHAND_TREE",
    POD_UID, REQUEST_CPU, REQUEST_CPU_MILLICORES, REQUEST_MEMORY,
})  # fmt: skip
PACKAGES: Final = ("worker", "handlers", "server")
SECRETS: Final = ("token", "server_token")


def check_config_file(path: Path | None, keys: Iterable[str]) -> Check:
    """Look at the configuration file; its content was checked when it was read."""
    if path is None:
        return ok("configuration", "no file; settings come from flags, variables and defaults")
    secret = sorted(set(keys) & set(SECRETS))
    if secret and is_open(path):
        return warn(
            "configuration",
            f"{path} holds {', '.join(secret)} and can be read by others",
            f"chmod 600 {path}, or put the token into a file and set token_file",
        )
    return ok("configuration", str(path))


def check_variables(environment: Mapping[str, str]) -> Check:
    """Look for variables with our prefix that nothing reads: slips of the finger."""
    known = {setting.variable for setting in ALL_SETTINGS} | OTHERS
    unknown = sorted(
        name
        for name in environment
        if name.startswith(PREFIX) and name not in known and not name.startswith(VARIABLE_PREFIX)
    )
    if not unknown:
        used = sum(name in known for name in environment)
        return ok("variables", f"{used} set, all known")
    near = [match for name in unknown for match in get_close_matches(name, known, n=1)]
    todo = f"did you mean {', '.join(near)}?" if near else "unset them"
    return warn("variables", f"nothing reads {', '.join(unknown)}", todo)


def check_token(api: ApiConfig) -> Check:
    """Look whether there is a token, and who may read it."""
    if api.token_file is not None:
        return check_token_file(api.token_file)
    if api.token:
        return ok("token", "given by value")
    return warn(
        "token",
        "none is set",
        "set MILLHAND_TOKEN_FILE or MILLHAND_TOKEN, unless the server needs none",
    )


def check_token_file(path: Path) -> Check:
    """Look at the token's file."""
    try:
        content = path.read_bytes().strip()
    except OSError as exc:
        return fail("token", f"{path}: {exc.strerror}", "check MILLHAND_TOKEN_FILE")
    if not content:
        return fail("token", f"{path} is empty", "write the token into it")
    if is_open(path):
        return warn("token", f"{path} can be read by others", f"chmod 600 {path}")
    return ok("token", f"in {path}")


def is_open(path: Path) -> bool:
    """Tell whether more than the owner and the group may read a file."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def check_packages(folders: Iterable[str] | None = None) -> Check:
    """Look for folders or files that hide our packages, whose names are common ones."""
    home = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
        if found != home / name:
            where = found or "a folder without __init__.py"
            return fail(
                "packages", f"{name!r} is taken from {where}, not from {home}", f"rename or remove {where}"
            )
    hidden = [path for folder in shadowing_folders(folders) for path in shadows(folder, home)]
    if hidden:
        names = ", ".join(map(str, hidden))
        return warn(
            "packages",
            f"{names} would hide ours for programs started there without -P",
            "rename it, or take its folder out of PYTHONPATH; millhand itself is not affected",
        )
    return ok("packages", f"worker, handlers and server are ours ({home})")


def shadowing_folders(folders: Iterable[str] | None) -> list[Path]:
    """Return where Python may look before it looks into the installed packages."""
    given = (
        folders if folders is not None else [os.curdir, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    return list(dict.fromkeys(Path(folder).resolve() for folder in given if folder))


def shadows(folder: Path, home: Path) -> list[Path]:
    """Return what in a folder has the name of one of our packages; our own home does not count."""
    if folder == home or str(folder) in sys.prefix:
        return []
    candidates = [folder / form for name in PACKAGES for form in (name, f"{name}.py")]
    return [path for path in candidates if path.exists()]
