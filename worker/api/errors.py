"""What can go wrong with a request, by what it means for the caller.

    ApiError
    ├── Unknown              nobody knows whether the server did it: ask or repeat
    │   ├── TransportError       no answer, one that cannot be read, or a proxy's 408 or 425
    │   │   └── EmptyAnswer          a 2xx without a body where one is needed
    │   └── ServerError          5xx
    └── Rejected             the server says that it did not do it
        ├── RateLimited          429: later, after `retry_after_s`
        ├── Unauthorized         401: the token is not valid
        ├── Forbidden            403: no token, or not allowed
        ├── NotFound             404, 410
        ├── Conflict             409
        └── Refused              any other 4xx: the request itself is not accepted

A message names the request and says what to do. It never holds a token or a body.
"""

from __future__ import annotations

__all__ = [
    "ApiError",
    "Conflict",
    "EmptyAnswer",
    "Forbidden",
    "NotFound",
    "RateLimited",
    "Refused",
    "Rejected",
    "ServerError",
    "TransportError",
    "Unauthorized",
    "Unknown",
    "error_for_status",
]


class ApiError(Exception):
    """A request to the Jobs API that brought no usable answer.

    Attributes: `status` (None where there was no answer), `code` (the documented error code; None
    where the body was not the documented one), `retry_after_s` (what the server asked for).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Keep the message and what the answer told."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def is_documented(self) -> bool:
        """Tell whether the answer had the documented error body: the API itself said it, no proxy."""
        return self.code is not None


class Unknown(ApiError):
    """Nobody knows whether the server did what was asked."""


class TransportError(Unknown):
    """No answer came, or one that cannot be read."""


class EmptyAnswer(TransportError):
    """It was answered, by nothing: who asked for little may have got it."""


class ServerError(Unknown):
    """The server failed (5xx)."""


class Rejected(ApiError):
    """The server says that it did not do it."""


class RateLimited(Rejected):
    """Too many requests (429)."""


class Unauthorized(Rejected):
    """The token is not valid (401)."""


class Forbidden(Rejected):
    """No token, or one that may not do this (403)."""


class NotFound(Rejected):
    """There is no such thing (404, 410)."""


class Conflict(Rejected):
    """The state of the thing does not allow it (409)."""


class Refused(Rejected):
    """The request is not accepted (other 4xx)."""


BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: TransportError,  # whoever says it has not read the request; says nothing of the API
    409: Conflict,
    410: NotFound,
    425: TransportError,  # too early: the same request may be made again (RFC 8470)
    429: RateLimited,
}

ADVICE: dict[int, str] = {
    401: "the token is not valid: check MILLHAND_TOKEN or MILLHAND_TOKEN_FILE",
    403: "no token was accepted: set MILLHAND_TOKEN or MILLHAND_TOKEN_FILE, or check what the token may do",
}


def error_for_status(
    request: str, status: int, *, code: str | None, message: str | None, retry_after_s: float | None
) -> ApiError:
    """Return the error of an answer that is not 2xx.

    `message` is the one of a documented error body. A redirect is an unreadable answer: following
    it could carry the token to another host.
    """
    if 300 <= status < 400:
        return TransportError(
            f"{request} was redirected ({status}): set the API URL to where the API itself answers",
            status=status,
        )
    if status < 300:  # nothing that a request of ours asks for: 101 among them
        return TransportError(f"{request} answered {status}: this is not the API", status=status)
    kind = ServerError if status >= 500 else BY_STATUS.get(status, Refused)
    said = ": ".join(part for part in (code, message) if part)
    text = f"{request} answered {status}" + (f" ({said})" if said else "")
    if status in ADVICE:
        text += f"; {ADVICE[status]}"
    return kind(text, status=status, code=code, retry_after_s=retry_after_s)
