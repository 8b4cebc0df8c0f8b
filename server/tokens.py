"""Tokens: made with high entropy, stored as a hash, shown once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

__all__ = ["DEFAULT_ORG_ID", "DEFAULT_ORG_NAME", "FULL", "READ", "SERVER_TOKEN_ID", "hash_token", "new_token"]

# The organisation and the id of the token that the server's configuration gives; drawn once at random.
DEFAULT_ORG_ID: Final = "6d1c1f5e-8f1b-4d7e-9a57-2f6b1c0e4a31"
DEFAULT_ORG_NAME: Final = "default"
SERVER_TOKEN_ID: Final = "b3f0a6c2-51d4-4c8e-8a0f-7e9d2c64f5b8"  # noqa: S105 - an id, no secret

# Scopes of a token.
FULL: Final = "full"  # everything
READ: Final = "read"  # GET only

ENTROPY_BYTES: Final = 32


def new_token() -> str:
    """Return a new token; the prefix lets scanners of leaked secrets find it."""
    return f"mh_{secrets.token_urlsafe(ENTROPY_BYTES)}"


def hash_token(token: str) -> str:
    """Return what is stored of a token: SHA-256, which is enough for 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
