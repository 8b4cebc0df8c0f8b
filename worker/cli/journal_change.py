"""`millhand journal retry` and `drop`: change what is open, with the agent stopped."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.journal_source import check_there, entry_named, opened, state_dir_setting
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.agent.second_try import Chance
    from worker.cli.session import Session
    from worker.reporting.journal import Journal
    from worker.reporting.records import Entry

__all__ = ["drop", "retry"]


@make_command(
    "retry",
    examples="""
systemctl stop millhand && millhand journal retry 1cbd8f3e && systemctl start millhand
millhand journal retry --all
""",
)
@click.argument("runs", metavar="[RUN]…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that wait for a person.")
@state_dir_setting
@output_options
@api_settings
def retry(*, runs: tuple[str, ...], everything: bool, state_dir: Path, out: Output, api: ApiConfig) -> int:
    """Have the agent send outcomes once more at its next start: fenced, reduced or refused ones.

    The server is asked first. An outcome is never sent to a run that is somebody else's by now, nor where
    the task has gone on without it: export it instead. The agent must be stopped.
    """
    from worker.cli.session import with_session

    if bool(runs) == everything:
        raise click.UsageError("say which runs, or --all")

    async def work(session: Session) -> list[tuple[Entry, Chance]]:
        async with unlocked(state_dir, out) as journal:
            entries = chosen(journal, runs)
            return [(entry, await try_again(session, journal, entry)) for entry in entries]

    return tell_tries(out, with_session(api, work))


def chosen(journal: Journal, runs: Sequence[str]) -> list[Entry]:
    """Return the entries that are meant."""
    from worker.reporting.entry_state import state_of

    if runs:
        return [entry_named(journal.entries, run) for run in runs]
    return [entry for entry in journal.entries.values() if state_of(entry).needs_a_person]


async def try_again(session: Session, journal: Journal, entry: Entry) -> Chance:
    """Take the marks off an entry, if its outcome may be sent again."""
    from worker.agent.second_try import Chance, chance_of
    from worker.api.errors import NotFound
    from worker.reporting.entry_state import state_of, told_marks

    state = state_of(entry)
    if not state.needs_a_person:
        return Chance(False, f"it is {state}: the agent takes it up by itself at its next start")
    try:
        run = await session.ask(lambda: session.api.get_run(entry.run_id))
    except NotFound as error:
        if not error.is_documented:  # a proxy said it, not the API
            raise
        return chance_of(entry, None, ())
    runs = await session.pages(
        lambda page, per_page: session.api.list_runs(task_id=entry.task_id, page=page, per_page=per_page),
        None,
    )
    chance = chance_of(entry, run, [one for one in runs if one.task_id in (None, entry.task_id)])
    if chance.may:
        await journal.unmark(entry.run_id, told_marks(entry))
    return chance


def tell_tries(out: Output, tries: list[tuple[Entry, Chance]]) -> int:
    """Say what is sent again and what is not; return the exit code."""
    if out.is_json:
        out.json(
            {
                "runs": [
                    {"run": entry.run_id, "retried": chance.may, "why": chance.why} for entry, chance in tries
                ]
            }
        )
    for entry, chance in tries:
        said = "is sent again at the agent's next start" if chance.may else "is left as it is"
        out.say(f"{entry.run_id} {said}: {chance.why}")
    if not tries:
        out.say("nothing waits for a person")
    left = [entry for entry, chance in tries if not chance.may]
    if left:
        out.say("  what is left as it is can be kept: millhand journal export FILE RUN")
    return ExitCode.REFUSED if left else ExitCode.OK


@make_command(
    "drop",
    examples="""
millhand journal export kept.jsonl 1cbd8f3e
millhand journal drop 1cbd8f3e --exported kept.jsonl
millhand journal drop 1cbd8f3e --yes                # its outcome and files are lost
""",
)
@click.argument("runs", metavar="RUN…", nargs=-1, required=True)
@click.option(
    "--exported", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="The file of `millhand journal export` that holds their outcomes; it is looked into.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Although outcome or files are then nowhere else.")
@state_dir_setting
@output_options
def drop(*, runs: tuple[str, ...], exported: Path | None, yes: bool, state_dir: Path, out: Output) -> int:
    """Forget entries, and remove their files that wait to be stored. The agent must be stopped.

    Nothing is said to the server: a run that is still going there stays so.
    """
    from worker import log

    log.configure("error")

    async def work() -> list[Entry]:
        async with unlocked(state_dir, out) as journal:
            entries = [entry_named(journal.entries, run) for run in runs]
            if not yes and (lost := [said for entry in entries if (said := loss(entry, exported))]):
                raise CliError(
                    "; ".join(lost), "export and copy what is wanted, then --yes", code=ExitCode.USAGE
                )
            await forget(journal, entries, state_dir / "spool")
            return entries

    entries = asyncio.run(work())
    if out.is_json:
        out.json({"dropped": [entry.run_id for entry in entries]})
    for entry in entries:
        files = f", and {len(entry.files)} file(s) of it are removed" if entry.files else ""
        out.say(f"{entry.run_id} is forgotten{files}; its run on the server is left as it is")
    return 0


def loss(entry: Entry, exported: Path | None) -> str:
    """Return what would be lost with an entry; nothing where it stands in an exported file."""
    from worker.reporting.entry_state import outcome_of
    from worker.reporting.export import exported_outcomes

    if entry.files:
        return f"{entry.run_id} has {len(entry.files)} file(s) that are not stored; no export holds them"
    if exported is None:
        return (
            f"the outcome of {entry.run_id} is nowhere else"
            if entry.has_outcome
            else f"{entry.run_id} is not over"
        )
    try:
        if (entry.run_id, outcome_of(entry)) in exported_outcomes(exported):
            return ""
    except (OSError, ValueError) as exc:
        raise CliError(f"{exported} is no export of a journal: {exc}", code=ExitCode.USAGE) from exc
    return f"{exported} does not hold the outcome of {entry.run_id} as it is now"


async def forget(journal: Journal, entries: list[Entry], spool: Path) -> None:
    """Close entries, and remove their files once that is durable."""
    import shutil

    from worker.storage.file import safe_part

    for entry in entries:
        await journal.close_entry(entry.run_id)
    await journal.sync()
    for entry in entries:
        if entry.files:
            await asyncio.to_thread(shutil.rmtree, spool / safe_part(entry.run_id), ignore_errors=True)


@asynccontextmanager
async def unlocked(state_dir: Path, out: Output) -> AsyncIterator[Journal]:
    """Give the journal to change, as the agent itself would open it; nobody else does meanwhile.

    Raises: CliError where an agent uses it, or only an agent should open it.
    """
    from worker.agent.statedir import StateDir, StateDirBusy
    from worker.reporting.disk import DiskIO
    from worker.reporting.journal import Journal, JournalError
    from worker.reporting.records import NewerForm

    check_there(state_dir)
    check_owner(state_dir)
    try:
        with StateDir.acquire(state_dir) as state:
            check_whole(state_dir, out)
            journal = await Journal.open(DiskIO(state.journal_path))
            try:
                yield journal
            finally:
                await journal.aclose()
    except StateDirBusy as exc:
        raise busy(state_dir, exc) from exc
    except (OSError, JournalError, NewerForm) as exc:
        raise CliError(f"{state_dir}: {exc}", code=ExitCode.CONFIGURATION) from exc


def busy(state_dir: Path, exc: Exception) -> CliError:
    """Return the error of a journal that an agent uses."""
    said = str(exc).partition(";")[0]
    todo = "stop it first; it sends what is retried at its next start. Meanwhile list, show and export work"
    return CliError(said, todo, code=ExitCode.CONFIGURATION)


def check_owner(state_dir: Path) -> None:
    """See that the agent can read what we write.

    Raises: CliError where the folder is another user's.
    """
    owner = state_dir.stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name: Any = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = owner
    raise CliError(
        f"{state_dir} belongs to user {name}, whose agent could not read what others write",
        f"run it as that user: sudo -u {name} millhand journal …",
        code=ExitCode.CONFIGURATION,
    )


def check_whole(state_dir: Path, out: Output) -> None:
    """See that nothing is missing: the agent that starts next must know if files may be nobody's.

    Raises: CliError where something of the journal cannot be read.
    """
    if not opened(state_dir, out).seen.is_whole:
        raise CliError(
            f"the journal in {state_dir} cannot be read whole",
            "start the agent once: it sets the damaged part aside, and keeps files whose runs are not known",
            code=ExitCode.CONFIGURATION,
        )
