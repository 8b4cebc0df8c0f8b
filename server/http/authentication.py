"""Who asks: a token as bearer header or as query parameter."""

from __future__ import annotations

from typing import Final

from server.http.failure import ApiError, not_authenticated
from server.http.query import Parameters
from server.http.request import Headers, Request
from server.store.records import Principal
from server.store.store import Store
from server.tokens import hash_token, may

__all__ = ["authenticate", "check_scope"]

BEARER: Final = "bearer"


async def authenticate(request: Request, query: Parameters, store: Store) -> Principal:
    """Return who asks.

    Raises:
        ApiError: 403 without a token, 401 with one that is not valid.
    """
    sha256 = request.headers.once(_hash_in) or _hash_in_query(query)
    if sha256 is None:
        raise ApiError(403, "forbidden", "No token: send Authorization: Bearer, or bearer_token in the query")
    principal = await store.principal(sha256)
    if principal is None:
        raise not_authenticated()
    return principal


def check_scope(principal: Principal, needed: str) -> None:
    """See that a token may do what needs this scope.

    Raises:
        ApiError: 403.
    """
    if not may(principal.scopes, needed):
        raise ApiError(403, "forbidden", f"This token lacks the scope {needed}")


def _hash_in(headers: Headers) -> str | None:
    scheme, _, token = (headers.get("authorization") or "").strip().partition(" ")
    return hash_token(token.strip()) if scheme.lower() == BEARER and token.strip() else None


def _hash_in_query(query: Parameters) -> str | None:
    token = query.get("bearer_token", [None])[-1]
    return None if token is None else hash_token(token)
