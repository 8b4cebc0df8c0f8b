"""Safeguards of the server and its store, each taken away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import structs

import server.routes.batch
import server.store.sql.rows
import server.store.sql.run_commands
import server.store.sqlite.migrate
import server.store.sqlite.store
from server.reaper import Patience
from server.store.migration import Migration
from server.store.sql import reaping
from tests.safeguards.change import Change

__all__ = [
    "always_in_time",
    "anybody_reports",
    "brief_without_identity",
    "known_ids_pass",
    "no_claim_rules",
    "no_patience",
    "no_reaper",
    "no_unique_index",
    "one_write_fails_all",
    "stopped_runs_change",
]


INDEX: Final = re.compile(r"CREATE UNIQUE INDEX runs_live[^;]*;")


def no_unique_index() -> Sequence[Change]:
    """Let the database have two live runs of a task."""
    real = server.store.sqlite.migrate.migrations

    def migrations() -> list[Migration]:
        return [structs.replace(step, sql=INDEX.sub("", step.sql)) for step in real()]

    from server.store.sqlite import store

    assert any(INDEX.search(step.sql) for step in real())
    return [(server.store.sqlite.migrate, "migrations", migrations), (store, "migrations", migrations)]


def no_claim_rules() -> Sequence[Change]:
    """Let a run start whatever the task's other runs are."""
    commands = server.store.sql.run_commands
    nothing = lambda *of: None  # noqa: E731 - two of them
    return [(commands, "check_claim", nothing), (commands, "check_nothing_live", nothing)]


def known_ids_pass() -> Sequence[Change]:
    """Answer a claim of a known id with the run, whoever asks."""
    return [(server.store.sql.run_commands, "is_same_claim", lambda *of, **named: True)]


def anybody_reports() -> Sequence[Change]:
    """Take a report from anybody."""
    return [(server.store.sql.run_commands, "_check_identity", lambda command, run: None)]


def stopped_runs_change() -> Sequence[Change]:
    """Say yes to any report on a stopped run."""
    return [(server.store.sql.run_commands, "_check_repetition", lambda fields, run: None)]


def no_reaper() -> Sequence[Change]:
    """Let silent runs keep their tasks."""
    return [(reaping, "SILENT", reaping.SILENT.replace("WHERE", "WHERE false AND"))]


def no_patience() -> Sequence[Change]:
    """Hold silence against runs right after a start or a pause of the server."""
    return [(Patience, "is_over", lambda self: True)]


def always_in_time() -> Sequence[Change]:
    """Take a late result although somebody has started the task since."""
    return [(server.store.sql.run_commands, "make_room", lambda tx, run, *, is_success: True)]


def brief_without_identity() -> Sequence[Change]:
    """Leave out whose a run is where little of it is asked for."""
    return [(server.store.sql.rows, "RunBrief", lambda **of: {"id": of["id"], "stoppedAt": of["stopped_at"]})]


def one_write_fails_all() -> Sequence[Change]:
    """Answer the request with the first refusal, whatever was done of it."""

    def refuse(exc: Exception, *of: Any) -> Any:
        raise exc

    return [(server.routes.batch, "failure_of", refuse)]
