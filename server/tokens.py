"""Tokens: made with high entropy, stored as a hash, shown once; and what their scopes allow."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

__all__ = [
    "ADMIN",
    "DEFAULT_ORG_ID",
    "DEFAULT_ORG_NAME",
    "READ",
    "SCOPES",
    "SERVER_TOKEN_ID",
    "SUBMIT",
    "WORK",
    "hash_token",
    "may",
    "new_token",
]

# The organisation and the id of the token that the server's configuration gives; drawn once at random.
DEFAULT_ORG_ID: Final = "6d1c1f5e-8f1b-4d7e-9a57-2f6b1c0e4a31"
DEFAULT_ORG_NAME: Final = "default"
SERVER_TOKEN_ID: Final = "b3f0a6c2-51d4-4c8e-8a0f-7e9d2c64f5b8"  # noqa: S105 - an id, no secret

# Scopes of a token, each within its organisation. Every one of them may read.
READ: Final = "read"  # nothing else
SUBMIT: Final = "submit"  # make and change jobs and tasks
WORK: Final = "work"  # claim tasks and report on runs
ADMIN: Final = "admin"  # everything
SCOPES: Final = (READ, SUBMIT, WORK, ADMIN)

ENTROPY_BYTES: Final = 32


def new_token() -> str:
    """Return a new token; the prefix lets scanners of leaked secrets find it."""
    return f"mh_{secrets.token_urlsafe(ENTROPY_BYTES)}"


def hash_token(token: str) -> str:
    """Return what is stored of a token: SHA-256, which is enough for 256 random bits.

    A token is found by its hash, so how long that takes tells nothing about the token: whoever measures
    it cannot choose the hash of a guess.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def may(scopes: frozenset[str], needed: str) -> bool:
    """Tell whether a token with these scopes may do what needs one of them."""
    return ADMIN in scopes or needed in scopes or (needed == READ and not scopes.isdisjoint(SCOPES))
