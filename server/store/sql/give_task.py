"""A task that is claimed in the transaction that makes it."""

from __future__ import annotations

from msgspec import structs

from server.store.changes import TasksPending, TaskTaken
from server.store.commands import GiveTask
from server.store.records import Given
from server.store.refusal import Refused
from server.store.sql.run_commands import create_run
from server.store.sql.task_commands import create_task
from server.store.sql.transaction import Transaction
from worker.api.ids import claim_run_id

__all__ = ["give_task"]


def give_task(tx: Transaction, command: GiveTask) -> Given:
    """Make a task and its first run; nobody is called for a task that nobody else can have."""
    begun = len(tx.changes)  # before them are those of other commands of the group
    task = create_task(tx, command.task)
    task_id = task.task.id
    claim = structs.replace(command.claim, task_id=task_id, id=claim_run_id(task_id))
    try:
        run = create_run(tx, claim)
    except Refused:  # before it wrote anything: the job is not active, or that id is taken
        return Given(task, None)
    own = tx.changes[begun:]
    tx.changes[begun:] = [change for change in own if not isinstance(change, TasksPending | TaskTaken)]
    return Given(task, run)
