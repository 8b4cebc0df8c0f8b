"""Who looks at the dashboard: a token in a cookie, and a proof that a form is one of ours.

The cookie is the token itself, so any replica knows it, and a token that is revoked is out at once.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from server.dashboard.sent_forms import is_foreign
from server.store.records import Principal
from server.store.store import Store
from server.tokens import SUBMIT, hash_token, may

__all__ = ["COOKIE", "Session", "drop_cookie", "keep_cookie", "session_of"]

COOKIE: Final = "millhand_token"
MAX_TOKEN_CHARS: Final = 1024


class Session(Struct, frozen=True):
    """Somebody who is signed in."""

    token: str
    principal: Principal

    @property
    def may_act(self) -> bool:
        """Tell whether its token changes anything; others see no action."""
        return may(self.principal.scopes, SUBMIT)

    @property
    def proof(self) -> str:
        """What each of our forms carries, and no other site can know."""
        return hmac.new(self.token.encode(), b"millhand form", hashlib.sha256).hexdigest()

    def sent(self, request: Request, proof: str) -> bool:
        """Tell whether a form is from one of our pages: it has the proof, and no browser says otherwise."""
        return not is_foreign(request) and hmac.compare_digest(proof.encode(), self.proof.encode())


async def session_of(token: str | None, store: Store) -> Session | None:
    """Return who signs in with a token; None where it is not valid."""
    is_plain = token is not None and token.isascii() and token.isprintable()
    if not token or not is_plain or len(token) > MAX_TOKEN_CHARS:
        return None
    principal = await store.principal(hash_token(token))
    return None if principal is None else Session(token, principal)


def keep_cookie(response: Response, token: str, path: str, *, is_secure: bool) -> None:
    """Have the browser send the token with each request for our pages, and with those of no other site."""
    response.set_cookie(COOKIE, token, path=path, httponly=True, samesite="strict", secure=is_secure)


def drop_cookie(response: Response, path: str) -> None:
    """Have the browser forget the token."""
    response.delete_cookie(COOKIE, path=path, httponly=True, samesite="strict")
