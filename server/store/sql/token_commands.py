"""Commands on organisations and their tokens."""

from __future__ import annotations

from server.store.commands import CreateToken, DeleteToken, EnsureOrganisation, NoteTokenUse
from server.store.records import Principal
from server.store.sql.transaction import Transaction

__all__ = ["create_token", "delete_token", "ensure_organisation", "note_token_use"]


def ensure_organisation(tx: Transaction, command: EnsureOrganisation) -> str:
    """Find an organisation by id or name, else make it."""
    row = tx.one("SELECT id FROM organisations WHERE id = ? OR name = ?", command.id, command.name)
    if row is not None:
        return str(row["id"])
    org_id = command.id or tx.new_id()
    tx.insert("organisations", id=org_id, name=command.name, created_at=tx.now_ms)
    return org_id


def create_token(tx: Transaction, command: CreateToken) -> Principal:
    """Store a token; whatever had its id or its hash before is gone."""
    token_id = command.id or tx.new_id()
    tx.execute("DELETE FROM tokens WHERE id = ? OR sha256 = ?", (token_id, command.sha256))
    tx.insert(
        "tokens",
        id=token_id,
        sha256=command.sha256,
        org_id=command.org_id,
        scopes=" ".join(sorted(command.scopes)),
        created_at=tx.now_ms,
        expires_at=command.expires_at,
        name=command.name,
    )
    return Principal(token_id=token_id, org_id=command.org_id, scopes=command.scopes, name=command.name)


def delete_token(tx: Transaction, command: DeleteToken) -> None:
    """Forget a token."""
    tx.execute("DELETE FROM tokens WHERE id = ?", (command.id,))


def note_token_use(tx: Transaction, command: NoteTokenUse) -> None:
    """Keep when tokens were last used; those that are gone are passed over."""
    for token_id, at in sorted(command.used.items()):  # rows are locked in one order
        tx.execute(
            "UPDATE tokens SET last_used_at = ? WHERE id = ? AND coalesce(last_used_at, 0) < ?",
            (at, token_id, at),
        )
