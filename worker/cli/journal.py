"""`millhand journal`: what an agent has not delivered yet, and what a person can do about it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.group import MillGroup
from worker.cli.journal_change import drop, retry
from worker.cli.journal_source import entry_named, opened, state_dir_setting
from worker.cli.terminal import Output, output_options
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.redaction import Redactor

__all__ = ["command"]

command = MillGroup(
    "journal",
    first="list",
    help="""What an agent has not delivered yet: list it, show it, keep it, send it again, forget it.

    Without a verb it lists. It reads the journal in the agent's state folder, also while the agent works;
    what changes the journal wants the agent stopped.

    \b
    claimed     claimed, or about to be; it may have started
    running     going on, or ended with its agent: its next start closes it
    ended       its files are not stored yet
    on its way  its outcome is sent until the server takes it
    fenced      the run was given to somebody else, or is gone: the outcome stays here for a person
    reduced     the server took the outcome without its results, which stay here
    refused     the server takes no form of the outcome, which stays here
    """,
    examples="""
millhand journal
millhand journal --state-dir /var/lib/millhand
millhand journal show 1cbd8f3e                   # the start of the run's id is enough
millhand journal export results.jsonl            # every outcome that is not delivered
millhand journal retry 1cbd8f3e                  # with the agent stopped
millhand journal drop 1cbd8f3e --exported results.jsonl
""",
)


@make_command(
    "list",
    examples="""
millhand journal
millhand journal --json | jq -r '.entries[] | select(.state == "fenced") | .run'
""",
)
@state_dir_setting
@output_options
def list_entries(*, state_dir: Path, out: Output) -> int:
    """List what is open, the oldest first."""
    from worker.reporting.export import summary

    source = opened(state_dir, out)
    entries = sorted(source.seen.entries.values(), key=lambda entry: entry.started_at)
    summaries = [summary(entry) for entry in entries]
    if out.is_json:
        out.json({
            "stateDir": state_dir, "agentPid": source.agent_pid, "damaged": source.seen.damaged,
            "torn": source.seen.torn, "setAside": source.seen.set_aside, "entries": summaries,
        })  # fmt: skip
    elif summaries:
        from worker.cli.journal_view import entries_table, what_to_do

        out.table(entries_table(summaries))
        for line in what_to_do(entries):
            out.say(line)
    else:
        out.say(f"nothing is open in {state_dir}")
    return 0


@make_command("show", examples="\nmillhand journal show 1cbd8f3e\n")
@click.argument("run", metavar="RUN")
@state_dir_setting
@output_options
@api_settings
def show(*, run: str, state_dir: Path, out: Output, api: ApiConfig) -> int:
    """Show one entry whole: how the run ended, its results, its files that wait, what was claimed."""
    from worker.cli.journal_view import show_document
    from worker.reporting.export import document

    source = opened(state_dir, out)
    entry = entry_named(source.seen.entries, run)
    shown = redactor(api).value(document(entry, state_dir / "spool"))
    show_document(out, shown)
    return 0


def redactor(api: ApiConfig) -> Redactor:
    """Return what takes our token out of what is shown, where we know it."""
    from worker.api.connect import token_source
    from worker.redaction import Redactor

    token = None
    with contextlib.suppress(OSError, ValueError):  # whoever may not read it can still look
        token = token_source(api).current()
    return Redactor([token] if token else [])


@make_command(
    "export",
    examples="""
millhand journal export results.jsonl
millhand journal export one.jsonl 1cbd8f3e
jq .outcome.results results.jsonl
""",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("runs", metavar="[RUN]…", nargs=-1)
@state_dir_setting
@output_options
def export(*, file: Path, runs: tuple[str, ...], state_dir: Path, out: Output) -> int:
    """Write entries into the new FILE, one JSON document a line: those named, else all that have an outcome.

    Files of runs are named with where they lie; copy them before an entry is dropped.
    """
    from worker.reporting.export import document, write_export

    seen = opened(state_dir, out).seen
    entries = [entry_named(seen.entries, run) for run in runs] or [
        entry for entry in seen.entries.values() if entry.has_outcome
    ]
    if not entries:
        raise CliError(f"no run in {state_dir} has an outcome that is not delivered", code=ExitCode.USAGE)
    try:
        write_export(file, (document(entry, state_dir / "spool") for entry in entries))
    except FileExistsError as exc:
        raise CliError(
            f"{file} exists already", "name a new file: nothing is written over", code=ExitCode.USAGE
        ) from exc
    except OSError as exc:
        raise CliError(f"{file}: {exc.strerror}", code=ExitCode.CONFIGURATION) from exc
    if out.is_json:
        out.json({"file": file, "runs": [entry.run_id for entry in entries]})
    out.say(f"wrote {len(entries)} of {len(seen.entries)} open entries to {file}; the journal is as it was")
    if count := sum(len(entry.files) for entry in entries):
        out.note(f"{count} file(s) of them are not in it: they lie in {state_dir / 'spool'}")
    return 0


for verb in (list_entries, show, retry, export, drop):
    command.add_command(verb)
