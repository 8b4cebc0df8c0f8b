"""What an operator does to a database beside the server: tokens are made, listed, and taken back."""

from __future__ import annotations

from msgspec import Struct

from server.store.beside import apply_beside, is_there, tokens_beside
from server.store.commands import CreateToken, DeleteToken, EnsureOrganisation
from server.store.records import TokenRecord
from server.times import to_ms
from server.tokens import DEFAULT_ORG_ID, DEFAULT_ORG_NAME, hash_token, new_token
from worker.clock import Clock, SystemClock

__all__ = ["NewToken", "Operator"]


class NewToken(Struct, frozen=True, kw_only=True):
    """A token that was made, with its text, which nothing keeps."""

    token: str
    record: TokenRecord


class Operator:
    """Works on the database of a URL; each call is durable when it returns.

    All methods raise `DatabaseError` where the database cannot be used.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Open nothing yet."""
        self._url = url
        self._clock = clock or SystemClock()

    def has_database(self) -> bool:
        """Tell whether there is a database; one that is not yet has no tokens."""
        return is_there(self._url)

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, by organisation, the oldest first."""
        return tokens_beside(self._url, self._clock)

    def create(
        self, organisation: str, scopes: frozenset[str], name: str | None, lives_s: float | None
    ) -> NewToken:
        """Make a token, and its organisation if there is none of that name. `lives_s` None: for ever."""
        org_id = DEFAULT_ORG_ID if organisation == DEFAULT_ORG_NAME else None
        org_id = apply_beside(self._url, EnsureOrganisation(id=org_id, name=organisation), self._clock)
        token = new_token()
        expires_at = None if lives_s is None else to_ms(self._clock.now()) + int(lives_s * 1000)
        principal = apply_beside(
            self._url,
            CreateToken(
                org_id=org_id, sha256=hash_token(token), scopes=scopes, expires_at=expires_at, name=name
            ),
            self._clock,
        )
        (record,) = (one for one in self.tokens() if one.id == principal.token_id)
        return NewToken(token=token, record=record)

    def revoke(self, token_id: str) -> None:
        """Forget a token; a running server does so within seconds."""
        apply_beside(self._url, DeleteToken(id=token_id), self._clock)
