"""A claim that stands still before its commit, and what is asked of its database meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from server.store.commands import CreateRun
from server.store.postgres import commands, session
from tests.postgres.databases import cluster

__all__ = ["ask", "hold", "name_of"]

Execute = Callable[..., Any]


def name_of(url: str) -> str:
    """Return the name of the database in a URL."""
    return url.partition("@/")[2].partition("?")[0]


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Do a statement beside the servers."""
    return cluster().ask(sql, name_of(url))


def hold(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let the first claim stand still between its last statement and its commit."""
    real: Execute = commands.execute
    reached, go_on = threading.Event(), threading.Event()

    def execute(tx: Any, command: Any, jumps: Any) -> Any:
        answer = real(tx, command, jumps)
        if isinstance(command, CreateRun) and not reached.is_set():
            tx.one("SELECT 1")  # what went before is at the database now
            reached.set()
            go_on.wait(20)
        return answer

    monkeypatch.setattr(session, "execute", execute)  # no process can be asked to stop there
    return reached, go_on
