"""Databases for tests, with our schema, on a server that all tests of a run share."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from server.store.postgres.database import Limits, connect, target_of
from server.store.postgres.migrate import migrate, migrations
from tests.postgres.cluster import Cluster

__all__ = ["cluster", "database", "empty_database"]

TEMPLATE: Final = "template_of_tests"
TABLES: Final = "organisations, tokens, agents, jobs, job_counters, tasks, runs, results, usage_samples"
FREE: Final[list[str]] = []


@cache
def cluster() -> Cluster:
    """Start the server when the first test wants it; it goes with the process."""
    server = Cluster()
    atexit.register(server.remove)
    server.start()
    server.ask(f"CREATE DATABASE {TEMPLATE}")
    with connect(target_of(server.url(TEMPLATE)), Limits()) as connection:
        migrate(connection, migrations(), 1)
    return server


@contextmanager
def database() -> Iterator[str]:
    """Give the URL of a database with our schema, and nothing in it; they are used again, emptied."""
    server = cluster()
    name = FREE.pop() if FREE else server.new_database(TEMPLATE)
    try:
        yield server.url(name)
    finally:
        end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname"
        server.ask(f"{end} = '{name}'")
        server.ask(f"TRUNCATE {TABLES}", name)
        FREE.append(name)


@contextmanager
def empty_database() -> Iterator[str]:
    """Give the URL of a database without any schema."""
    server = cluster()
    name = server.new_database()
    try:
        yield server.url(name)
    finally:
        server.drop(name)
