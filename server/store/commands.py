"""Commands: every change of what the server remembers, as a value; each names its answer's type.

Times are whole milliseconds since 1970, progress is whole millionths, `parameters`, `results` and
`machine` are JSON objects as text. `UNSET` means "leave it as it is". All ids are those of one
organisation: the same id in another one is another thing.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType

from server.store.records import BriefAnswer, Deletion, Given, JobRecord, Principal, RunAnswer, TaskAnswer

__all__ = [
    "AnnounceAgent",
    "Briefly",
    "Command",
    "CreateJob",
    "CreateRun",
    "CreateTask",
    "CreateToken",
    "DeleteJob",
    "DeleteToken",
    "EnsureOrganisation",
    "GiveTask",
    "NoteTokenUse",
    "ReapRuns",
    "RunFields",
    "UpdateJob",
    "UpdateRun",
    "UpdateTask",
]

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Command(Struct, Generic[AnswerT_co], frozen=True):
    """A change that is done whole or not at all; done means durable."""


class CreateJob(Command[JobRecord], frozen=True, kw_only=True):
    """Make a job. Refused: ``job_exists``."""

    org_id: str
    created_by: str
    id: str | None = None
    title: str | None = None
    type: str | None = None
    scheduler_state: str = "active"
    priority: int = 0
    parameters: str = "{}"


class UpdateJob(Command[JobRecord], frozen=True, kw_only=True):
    """Change a job; a closing `scheduler_state` stops its pending tasks. Refused: ``job_not_found``."""

    org_id: str
    id: str
    title: str | UnsetType = UNSET
    scheduler_state: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    parameters: str | UnsetType = UNSET


class CreateTask(Command[TaskAnswer], frozen=True, kw_only=True):
    """Make a task of a job. Refused: ``task_exists``, ``create_task_error`` (no such job, no type)."""

    org_id: str
    created_by: str
    job_id: str
    id: str | None = None
    title: str | None = None
    type: str | None = None  # None: the job's
    priority: int | None = None  # None: the job's, also when that changes
    parameters: str = "{}"
    report_progress: bool = True
    extra: dict[str, str] = {}  # field -> JSON text


class UpdateTask(Command[TaskAnswer], frozen=True, kw_only=True):
    """Change a task's own fields; `extra` is merged. Refused: ``task_not_found``."""

    org_id: str
    id: str
    title: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    parameters: str | UnsetType = UNSET
    updated_at: int | UnsetType = UNSET  # UNSET: now
    extra: dict[str, str] = {}


class RunFields(Struct, frozen=True, kw_only=True):
    """What a client may tell about a run; the attributes are the columns of the table of runs."""

    started_at: int | UnsetType = UNSET
    stopped_at: int | UnsetType = UNSET
    result_code: str | UnsetType = UNSET
    result_message: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    progress: int | UnsetType = UNSET
    report_progress: bool | UnsetType = UNSET
    pod_id: str | UnsetType = UNSET
    request_cpus: float | UnsetType = UNSET
    limit_cpus: float | UnsetType = UNSET
    node_cpus: float | UnsetType = UNSET
    request_ram: float | UnsetType = UNSET
    limit_ram: float | UnsetType = UNSET
    node_ram: float | UnsetType = UNSET
    cpu_platform: str | UnsetType = UNSET
    machine_type: str | UnsetType = UNSET
    gpu_type: str | UnsetType = UNSET
    instance_id: str | UnsetType = UNSET
    zone: str | UnsetType = UNSET
    preemptible: bool | UnsetType = UNSET
    machine: str | UnsetType = UNSET
    gpu_time: float | UnsetType = UNSET
    cpu_time: float | UnsetType = UNSET
    ram_usage: float | UnsetType = UNSET
    wall_clock_time: float | UnsetType = UNSET
    results: str | UnsetType = UNSET  # lies in its own table


class CreateRun(Command[RunAnswer], frozen=True, kw_only=True):
    """Claim a task (`started_at` set), make it pending again (not set), or add a stopped run.

    The same run sent twice is answered with the first one. Refused: ``run_conflict``,
    ``task_not_pending``, ``job_not_active``, ``create_run_error``.
    """

    org_id: str
    created_by: str
    task_id: str
    id: str | None = None
    job_id: str | None = None
    lease_ms: int | None = None  # how long it may be silent; None: for ever
    fields: RunFields


class GiveTask(Command[Given], frozen=True, kw_only=True):
    """Make a task, and the run by which an agent that waits for one claims it, where its job is active.

    Refused as `CreateTask` is. A run that is refused leaves a task like any other.
    """

    task: CreateTask
    claim: CreateRun  # `task_id` and `id` are made from the new task's id, as by any agent


class UpdateRun(Command[RunAnswer], frozen=True, kw_only=True):
    """Report on a run.

    Refused: ``run_not_found``, ``run_stopped``, ``not_your_run``; starting a placeholder is refused
    as a claim is.
    """

    org_id: str
    id: str
    agent: str | None = None  # the podId of who sends it, if it said so
    lease_ms: int | None = None  # how long it may be silent from now on; None: as long as it could before
    fields: RunFields


class Briefly(Command[BriefAnswer], frozen=True):
    """Do a write of a run, for who wants to know of it only what a `RunBrief` tells."""

    write: CreateRun | UpdateRun


class ReapRuns(Command[int], frozen=True, kw_only=True):
    """Stop runs that were silent for longer than their lease, and requeue their tasks.

    The answer is how many they were, `most` at most.
    """

    lease_ms: int  # what is granted at most
    most: int


class DeleteJob(Command[Deletion], frozen=True, kw_only=True):
    """Delete a finished job, with all that belongs to it, or a part of it where it is large.

    From the first part on nobody sees the job. It is kept where it is not finished, where it is not the
    same any more as when it was chosen, or where it is younger than it must be.
    """

    org_id: str
    id: str
    changed_at: int  # of the job that was chosen
    age_ms: int  # since its last change, by the database's time
    most: int  # rows that go at once, some more if need be


class AnnounceAgent(Command[None], frozen=True, kw_only=True):
    """Keep what an agent says of itself, in place of what it said before; `is_gone`: forget it.

    Those that were not heard of for `forget_ms` are forgotten too.
    """

    org_id: str
    id: str
    status: str = "{}"
    machine: str = "{}"
    handlers: str = "{}"
    is_gone: bool = False
    forget_ms: int = 7 * 86_400_000


class EnsureOrganisation(Command[str], frozen=True, kw_only=True):
    """Make an organisation unless it exists; the answer is its id."""

    id: str | None = None
    name: str


class CreateToken(Command[Principal], frozen=True, kw_only=True):
    """Store a token by its hash; an older one of the same id is replaced."""

    id: str | None = None
    org_id: str
    sha256: str
    scopes: frozenset[str]
    expires_at: int | None = None
    name: str | None = None  # what an operator knows it by


class DeleteToken(Command[None], frozen=True, kw_only=True):
    """Forget a token, if there is one of that id."""

    id: str


class NoteTokenUse(Command[None], frozen=True, kw_only=True):
    """Keep when tokens were last used."""

    used: dict[str, int]  # token's id -> milliseconds since 1970
