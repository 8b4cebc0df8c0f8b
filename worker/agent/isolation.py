"""What the settings say of isolation, made ready: who runs handlers, and what is hidden from them."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

import worker
from worker.agent.input_cache import key_path, user_folder
from worker.agent.task_user import find_user, missing_capabilities, obstacle
from worker.config import AgentConfig
from worker.executor.confinement import Confinement, TaskUser
from worker.minder import landlock

__all__ = ["WORDS", "confinement_of", "prepare_state_dir"]

WORDS: Final = ("no_new_privs", "landlock", "none")
OOM_STEP: Final = 500  # half of the memory that there is: a handler need not be larger to go first
OOM_MOST: Final = 1000
CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
SHARED: Final = ("runs", "artifacts", "home")  # of the state directory: what handlers use
SYSTEM: Final = ("bin", "boot", "etc", "lib", "lib32", "lib64", "opt", "proc", "sbin", "sys", "usr")

log = structlog.get_logger(__name__)


def confinement_of(config: AgentConfig) -> Confinement:
    """Return how children are confined.

    Raises: ValueError where this machine or this agent cannot do what was asked for; the message says
    what to do.
    """
    words = check_words(config.hardening)
    user = task_user_of(config) if config.task_user else None
    if "landlock" not in words:
        return Confinement(user=user, no_new_privs="no_new_privs" in words, oom_score_adj=sooner_than_agent())
    if landlock.abi() < landlock.MIN_ABI:
        raise ValueError(f"hardening: landlock: this kernel offers too little of it; {landlock.TODO}")
    hidden = tuple(map(str, hidden_paths(config)))
    warn_of_temporary_folder(hidden)
    return Confinement(
        user=user,
        oom_score_adj=sooner_than_agent(),
        hide=hidden,
        keep=tuple(map(str, kept_paths(config, user))),
        read=tuple(map(str, unchangeable(config, user))),
    )


def kept_paths(config: AgentConfig, user: TaskUser | None) -> Iterator[Path]:
    """Yield what handlers use below hidden paths, or beside them."""
    yield from (config.state_dir / name for name in ("runs", "home"))
    if config.input_cache is not None:
        yield user_folder(config.input_cache, user)


def sooner_than_agent(path: Path = Path("/proc/self/oom_score_adj")) -> int | None:
    """Return an adjustment by which the kernel takes handlers before the agent; None where it has none."""
    try:
        return min(int(path.read_text(encoding="ascii")) + OOM_STEP, OOM_MOST)
    except (OSError, ValueError):
        return None


def check_words(words: tuple[str, ...]) -> frozenset[str]:
    """Return the words of the hardening setting.

    Raises: ValueError where one is not known, or `none` stands beside others.
    """
    if unknown := sorted(set(words) - set(WORDS)):
        raise ValueError(f"hardening: {', '.join(unknown)} is not known; there are: {', '.join(WORDS)}")
    if "none" in words and len(set(words)) > 1:
        raise ValueError("hardening: none stands alone")
    return frozenset(words) - {"none"}


def task_user_of(config: AgentConfig) -> TaskUser:
    """Return the user that handlers run as.

    Raises: ValueError where there is none, the agent may not change to it, or it cannot reach the
    program, its handlers or the folders of runs.
    """
    assert config.task_user is not None
    user = find_user(config.task_user, config.state_dir.absolute() / "home")
    if user.uid == os.geteuid():
        raise ValueError(
            f"task_user: the agent itself runs as {user.name}; its token needs a user of its own"
        )
    if missing := missing_capabilities():
        raise ValueError(
            f"task_user: the agent may not run handlers as {user.name}: it lacks {', '.join(missing)};"
            " start it as root, or give it these (systemd: AmbientCapabilities=)"
        )
    for path in needed_by_handlers(config):
        if (said := obstacle(user, path)) is not None:
            raise ValueError(f"task_user: {said}; handlers need {path}: chmod it, or put it elsewhere")
    return user


def needed_by_handlers(config: AgentConfig) -> Iterator[Path]:
    """Yield what a child must be able to read."""
    yield Path(sys.executable)
    yield Path(os.__file__).parent
    yield Path(sysconfig.get_path("purelib"))
    yield Path(worker.__file__).parent
    yield from (path for item in config.handlers if (path := Path(item).expanduser().absolute()).exists())
    yield next(folder for folder in config.state_dir.absolute().parents if folder.exists())


def hidden_paths(config: AgentConfig) -> Iterator[Path]:
    """Yield what handlers must not reach."""
    yield config.state_dir.absolute()
    for path in (config.api.token_file, config.api.client_key, config.store_token_file, config.secrets_dir):
        if path is not None:
            yield path.absolute()
    if config.input_cache is not None:
        yield key_path(config.input_cache)
    if config.api.client_cert is not None and config.api.client_key is None:
        yield config.api.client_cert.absolute()  # it holds the key too
    yield from (Path(item).expanduser().absolute() for item in config.hide)


def unchangeable(config: AgentConfig, user: TaskUser | None) -> Iterator[Path]:
    """Yield what handlers can read and not change: else they could change what the agent runs next.

    Where somebody else than the owner of a file runs the handlers, its mode sees to that.
    """
    yield from local_stores(config)
    if CONTROL_GROUPS.is_dir():
        yield CONTROL_GROUPS  # who may write them leaves the limits of its run
    if user is not None:
        return
    if os.geteuid() == 0:
        yield from (Path("/") / name for name in SYSTEM if (Path("/") / name).is_dir())
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(worker.__file__).parent}
    packages = {Path(worker.__file__).parents[1] / name for name in ("handlers", "server")}
    yield from (path for path in sorted(prefixes | packages) if os.access(path, os.W_OK))


def local_stores(config: AgentConfig) -> Iterator[Path]:
    """Yield the folders where files of tasks are: those of earlier ones are the input of later ones."""
    yield config.state_dir.absolute() / "artifacts"
    place = (config.artifacts or "").removeprefix("file://")
    hidden = [path.resolve() for path in hidden_paths(config)]
    if place and "://" not in place and any(Path(place).resolve().is_relative_to(path) for path in hidden):
        yield Path(place).absolute()


def warn_of_temporary_folder(hidden: tuple[str, ...]) -> None:
    """Say it where handlers cannot make files in the folder for temporary ones: it is on a hidden path."""
    folder = os.path.realpath(tempfile.gettempdir())
    if any(os.path.realpath(path).startswith(folder + "/") for path in hidden):
        log.warning(
            "landlock.no_temporary_files",
            folder=folder,
            todo="put state directory and token elsewhere, or set TMPDIR: none can be made beside them",
        )


def prepare_state_dir(path: Path, user: TaskUser | None) -> None:
    """Open the state directory to the task user as far as its handlers need it, and no further.

    Its group may pass through; what is not shared is for the owner alone.

    Raises: OSError where that cannot be done.
    """
    if user is None:
        return
    for name in SHARED:
        (path / name).mkdir(exist_ok=True)
    for entry in path.iterdir():
        if entry.name not in SHARED and not entry.is_symlink():
            entry.chmod(0o700 if entry.is_dir() else 0o600)
    for folder, mode in ((path / "runs", 0o710), (path / "artifacts", 0o750), (path, 0o710)):
        os.chown(folder, -1, user.gid)
        folder.chmod(mode)
    home = path / "home"
    if home.stat().st_uid != user.uid:  # else it is the user's, and only root could change its mode
        home.chmod(0o700)
        user.own(home)
