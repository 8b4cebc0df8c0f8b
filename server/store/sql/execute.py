"""Which function does which command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from server.store.commands import (
    AnnounceAgent,
    Briefly,
    Command,
    CreateJob,
    CreateRun,
    CreateTask,
    CreateToken,
    DeleteJob,
    DeleteToken,
    EnsureOrganisation,
    GiveTask,
    NoteTokenUse,
    ReapRuns,
    UpdateJob,
    UpdateRun,
    UpdateTask,
)
from server.store.refusal import Reason, Refused
from server.store.sql.agent_commands import announce_agent
from server.store.sql.following import FollowJob, follow_job
from server.store.sql.give_task import give_task
from server.store.sql.job_commands import create_job, update_job
from server.store.sql.reaping import reap_runs
from server.store.sql.retention import delete_job
from server.store.sql.run_commands import create_run, update_run, write_briefly
from server.store.sql.task_commands import create_task, update_task
from server.store.sql.token_commands import create_token, delete_token, ensure_organisation, note_token_use
from server.store.sql.transaction import Transaction

__all__ = ["Probe", "execute"]


class Probe(Command[None], frozen=True):
    """Write something that changes nothing: is the database writable?"""


def probe(tx: Transaction, _command: Probe) -> None:
    """Touch a row, so that the commit has something to make durable.

    Refused: ``schema_changed``, by another version of the program, or by a backup that was restored.
    """
    row = tx.one("SELECT max(version) AS version FROM schema_version")
    if row is None or not tx.is_known_schema(row["version"]):
        raise Refused(
            Reason.CONFLICT, "schema_changed", "Another version of millhand has changed the database's schema"
        )
    tx.execute("UPDATE schema_version SET name = name WHERE version = 1")


FUNCTIONS: Final[dict[type, Callable[[Transaction, Any], Any]]] = {
    AnnounceAgent: announce_agent,
    Briefly: write_briefly,
    CreateJob: create_job,
    CreateRun: create_run,
    CreateTask: create_task,
    CreateToken: create_token,
    DeleteJob: delete_job,
    DeleteToken: delete_token,
    EnsureOrganisation: ensure_organisation,
    FollowJob: follow_job,
    GiveTask: give_task,
    NoteTokenUse: note_token_use,
    Probe: probe,
    ReapRuns: reap_runs,
    UpdateJob: update_job,
    UpdateRun: update_run,
    UpdateTask: update_task,
}


def execute(tx: Transaction, command: Command[Any]) -> Any:
    """Do a command within an open transaction and return its answer."""
    return FUNCTIONS[type(command)](tx, command)
