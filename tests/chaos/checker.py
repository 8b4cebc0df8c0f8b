"""The invariants, checked once a round is over and everything is mended. Pure but for the store's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from tests.chaos.book import Execution, doubled
from tests.chaos.cells import Victim
from tests.chaos.journals import token_in
from tests.chaos.trap import Kill
from worker.reporting.records import Entry

__all__ = ["Sort", "Story", "Violation", "check", "excused", "kept"]

AFTER_NS: Final = 1_000_000_000  # a child's last line, until its outcome is surely written down
SILENT: Final = "worker_lost: its agent was silent"  # said by our server, of a lease that is over
WHO_DIED: Final = {  # whose death ends a run so; another end is nobody's but the task's own
    "worker_lost": frozenset({Victim.AGENT}),
    "crashed": frozenset({Victim.CHILD, Victim.MINDER}),
    "internal": frozenset({Victim.CHILD, Victim.MINDER}),
}
KEPT: Final = "fenced"


class Sort(StrEnum):
    """Which promise is broken."""

    LOST = "lost"
    DOUBLED = "doubled"
    STUCK = "stuck"
    LEFTOVER = "leftovers"
    EARLY = "early"  # told before it was written down
    WRONG = "wrong"  # a run failed by something that did not happen to it
    FALLEN = "fallen"  # an agent or the server ended though nobody killed it


class Violation(Struct, frozen=True):
    """What is not as promised."""

    sort: Sort
    says: str


class Story(Struct, frozen=True):
    """Everything that is known of a round."""

    tasks: Mapping[str, str]  # the kind of each
    shown: Mapping[str, tuple[str | None, str | None]]  # the task's status and result
    runs: Sequence[Mapping[str, Any]]  # as the server has them
    executions: Sequence[Execution]
    written: frozenset[str]  # tokens that were in a journal, ever
    entries: Mapping[str, Mapping[str, Entry]]  # what is open, by agent
    kills: Sequence[Kill]


def check(story: Story) -> list[Violation]:
    """Return everything that is wrong."""
    found = [(Sort.DOUBLED, says) for says in doubled(story.executions)]
    for task_id in story.tasks:
        found += check_task(story, task_id)
    found += [(Sort.LOST, says) for says in lost(story)]
    found += [(Sort.LEFTOVER, says) for says in left_open(story)]
    found += [(Sort.WRONG, says) for says in wrong_ends(story)]
    return [Violation(sort, says) for sort, says in found]


def check_task(story: Story, task_id: str) -> Iterable[tuple[Sort, str]]:
    """Look at the runs of one task: one success, shown, and its result is what its own child returned."""
    runs = [run for run in story.runs if run["taskId"] == task_id]
    if story.shown[task_id] != ("stopped", "Success"):
        yield Sort.STUCK, f"task {task_id} shows {story.shown[task_id]}"
    for run in runs:
        if not run["stoppedAt"]:
            yield Sort.STUCK, f"run {run['id']} of task {task_id} is {'live' if run['startedAt'] else 'open'}"
    successes = [run for run in runs if run["resultCode"] == "Success"]
    if len(successes) > 1:
        yield Sort.DOUBLED, f"task {task_id} succeeded by {[run['id'] for run in successes]}"
    for run in successes:
        yield from check_success(story, task_id, run)


def check_success(story: Story, task_id: str, run: Mapping[str, Any]) -> Iterable[tuple[Sort, str]]:
    """Look at a success: its token, and its file."""
    token = token_in(dict(run))
    returned = {one.token for one in story.executions if one.run_id == run["id"]}
    if token is None or token not in returned:
        yield Sort.LOST, f"run {run['id']} shows the result {token}, its child returned {returned}"
    elif story.tasks[task_id] == "file" and token not in stored(run):
        yield Sort.LOST, f"run {run['id']} returned {token}, its stored files are {stored(run)}"


def stored(run: Mapping[str, Any]) -> list[str]:
    """Return what the files of a run hold in the store."""
    urls = [file.get("url") or "" for file in (run["results"] or {}).get("files", [])]
    paths = [Path(unquote(urlsplit(url).path)) for url in urls]
    return [path.read_text(errors="replace") for path in paths if path.is_file()]


def lost(story: Story) -> Iterable[str]:
    """Name the results that are neither on the server nor in a journal, and need not be excused."""
    for one in nowhere(story):
        if one.token in story.written:
            yield f"run {one.run_id}: its result {one.token} was in the journal, and is nowhere now"
        elif not is_excused(story, one):
            yield f"run {one.run_id}: its child returned {one.token}, and it is nowhere"


def nowhere(story: Story) -> Iterable[Execution]:
    """Return the executions whose result is neither on the server nor in a journal."""
    there = {token_in(dict(run)) for run in story.runs}
    for entries in story.entries.values():
        there |= {token_in(entry.terminal or entry.ended) for entry in entries.values()}
    return (one for one in story.executions if one.token is not None and one.token not in there)


def is_excused(story: Story, one: Execution) -> bool:
    """Tell whether child, minder or agent died around the return, before the result could be written down.

    Or the lease was over while its child stood still at its last line.
    """
    for kill in story.kills:
        is_of_run = kill.agent == one.agent and kill.victim is not Victim.SERVER
        if is_of_run and one.begin_ns <= kill.at_ns <= one.last_ns + AFTER_NS:
            return True
    return any(str(run["error"]).startswith(SILENT) for run in story.runs if run["id"] == one.run_id)


def excused(story: Story) -> int:
    """Count the results that nobody could keep."""
    return sum(one.token not in story.written and is_excused(story, one) for one in nowhere(story))


def kept(story: Story) -> int:
    """Count the results of this round that are kept for a person."""
    entries = [entry for each in story.entries.values() for entry in each.values()]
    return sum(KEPT in entry.marks and entry.task_id in story.tasks for entry in entries)


def wrong_ends(story: Story) -> Iterable[str]:
    """Name the runs that failed, though their handler did not and nobody died who could have ended them."""
    for run in story.runs:
        if run["startedAt"] and run["stoppedAt"] and run["resultCode"] != "Success":
            executions = [one for one in story.executions if one.run_id == run["id"]]
            if not is_right_end(str(run["error"]), executions, story.kills):
                yield f"run {run['id']} of task {run['taskId']} ended as {run['error']}"


def is_right_end(error: str, executions: Sequence[Execution], kills: Sequence[Kill]) -> bool:
    """Tell whether a run may have failed so."""
    if any(one.is_failed for one in executions) and error.startswith("handler_error"):
        return True
    agents = {one.agent for one in executions}
    who = WHO_DIED.get(error.partition(":")[0], frozenset())
    is_by_kill = any(kill.victim in who and (not agents or kill.agent in agents) for kill in kills)
    return is_by_kill or error.startswith(SILENT)


def left_open(story: Story) -> Iterable[str]:
    """Name the journals' open entries, but those that are kept for a person beside a success."""
    succeeded = {run["taskId"] for run in story.runs if run["resultCode"] == "Success"}
    told = {token_in(dict(run)) for run in story.runs} - {None}
    for agent, entries in story.entries.items():
        for entry in entries.values():
            is_kept = KEPT in entry.marks and (entry.task_id in succeeded or entry.task_id not in story.tasks)
            if not is_kept or token_in(entry.terminal or entry.ended) in told:
                yield f"journal of {agent}: run {entry.run_id}, {entry.marks}, ended {entry.has_outcome}"
