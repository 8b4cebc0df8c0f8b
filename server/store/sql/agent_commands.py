"""Commands on what agents say of themselves."""

from __future__ import annotations

from server.store.commands import AnnounceAgent
from server.store.sql.transaction import Transaction

__all__ = ["announce_agent"]


def announce_agent(tx: Transaction, command: AnnounceAgent) -> None:
    """Keep what an agent says, and forget those that have been silent for long."""
    tx.execute("DELETE FROM agents WHERE seen_at < ?", (tx.now_ms - command.forget_ms,))
    if command.is_gone:
        tx.execute("DELETE FROM agents WHERE org_id = ? AND id = ?", (command.org_id, command.id))
        return
    tx.execute(
        "INSERT INTO agents (org_id, id, seen_at, status, machine, handlers) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (org_id, id) DO UPDATE SET seen_at = excluded.seen_at, status = excluded.status,"
        " machine = excluded.machine, handlers = excluded.handlers",
        (command.org_id, command.id, tx.now_ms, command.status, command.machine, command.handlers),
    )
