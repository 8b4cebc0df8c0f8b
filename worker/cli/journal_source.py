"""The journal that a command is about: where it lies, who uses it, which entry is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from worker.cli import paths
from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import with_settings

if TYPE_CHECKING:
    from worker.cli.terminal import Output
    from worker.reporting.onlook import Seen
    from worker.reporting.records import Entry

__all__ = ["Source", "check_there", "entry_named", "opened", "state_dir_setting"]

F = TypeVar("F", bound=Callable[..., Any])

PREFIX_CHARS_MIN: Final = 4  # of a run's id, to name it
TODO: Final = (
    "name the agent's state folder by --state-dir; that of `millhand up` is the folder `agent` in its own"
)


class Source(Struct, frozen=True):
    """A journal as it was read."""

    seen: Seen
    agent_pid: int | None  # the agent that uses it


def state_dir_setting(function: F) -> F:
    """Give a command the setting of the agent's state folder, as `state_dir`."""
    settings = tuple(setting for setting in AGENT_SETTINGS if setting.name == "state_dir")
    return with_settings("Journal", settings, folder_of, "state_dir")(function)


def folder_of(given: Mapping[str, Any]) -> Path:
    """Return the state folder: as it was set, else the usual one."""
    return given["state_dir"] or paths.agent_state_dir()


def opened(state_dir: Path, out: Output) -> Source:
    """Read the journal of a state folder; what could not be read is told.

    Raises: CliError where there is none, or it cannot be read.
    """
    from worker import log
    from worker.agent.statedir import user_of
    from worker.reporting.onlook import look

    log.configure("error")  # what is torn or damaged is told below, in words
    check_there(state_dir)
    try:
        source = Source(look(state_dir / "journal"), user_of(state_dir))
    except OSError as exc:
        said = f"{exc.filename or state_dir}: {exc.strerror or exc}"
        raise CliError(said, "run it as the agent's user", code=ExitCode.CONFIGURATION) from exc
    except ValueError as exc:  # of a newer millhand
        raise CliError(f"{state_dir}: {exc}", code=ExitCode.CONFIGURATION) from exc
    tell_damage(source.seen, out)
    return source


def check_there(state_dir: Path) -> None:
    """See that there is a journal.

    Raises: CliError where there is none, or we may not know.
    """
    try:
        is_there = (state_dir / "journal").is_dir()
    except OSError as exc:
        said = f"{state_dir}: {exc.strerror}"
        raise CliError(said, "run it as the agent's user", code=ExitCode.CONFIGURATION) from exc
    if not is_there:
        raise CliError(f"no agent has kept a journal in {state_dir}", TODO, code=ExitCode.CONFIGURATION)


def tell_damage(seen: Seen, out: Output) -> None:
    """Say what of a journal cannot be read."""
    if seen.damaged:
        out.note(f"{', '.join(seen.damaged)}: damaged; entries may be missing")
    if seen.torn:
        out.note(f"{', '.join(seen.torn)}: the last record is not whole, as after a crash")
    if seen.set_aside:
        out.note(f"damaged segments of earlier times are kept beside it: {', '.join(seen.set_aside)}")


def entry_named(entries: Mapping[str, Entry], run: str) -> Entry:
    """Return the entry of a run that is named by its id, or by the start of it.

    Raises: CliError where it is none, or several.
    """
    if (entry := entries.get(run)) is not None:
        return entry
    found = [entry for id_, entry in entries.items() if id_.startswith(run)]
    if len(run) >= PREFIX_CHARS_MIN and len(found) == 1:
        return found[0]
    what = f"run {run!r} is not open in this journal"
    if found:
        what = (
            f"{run!r} is the start of {len(found)} runs; at least {PREFIX_CHARS_MIN} characters, of one run"
        )
    raise CliError(what, "`millhand journal` lists what is open", code=ExitCode.USAGE)
