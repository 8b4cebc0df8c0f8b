"""Who asks: a token as bearer header or as query parameter."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from server.http.failure import ApiError, not_authenticated
from server.http.query import Parameters
from server.store.records import Principal
from server.store.store import Store
from server.tokens import FULL, READ, hash_token

__all__ = ["authenticate"]

BEARER: Final = "bearer"
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def authenticate(request: Request, query: Parameters, store: Store) -> Principal:
    """Return who asks, and see that the token's scopes allow the method.

    Raises:
        ApiError: 403 without a token or without the scope, 401 with one that is not valid.
    """
    token = _token(request, query)
    if token is None:
        raise ApiError(403, "forbidden", "No token: send Authorization: Bearer, or bearer_token in the query")
    principal = await store.principal(hash_token(token))
    if principal is None:
        raise not_authenticated()
    needed = {FULL, READ} if request.method in SAFE_METHODS else {FULL}
    if not needed & principal.scopes:
        raise ApiError(403, "forbidden", f"This token's scopes do not allow {request.method}")
    return principal


def _token(request: Request, query: Parameters) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == BEARER and token.strip():
        return token.strip()
    return query.get("bearer_token", [None])[-1]
