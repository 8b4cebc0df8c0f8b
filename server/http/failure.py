"""Failures of requests: one kind, with the status, code and message of the documented error body."""

from __future__ import annotations

from server.store.refusal import Reason, Refused

__all__ = ["ApiError", "from_refusal", "not_authenticated"]

STATUS = {Reason.NOT_FOUND: 404, Reason.INVALID: 422, Reason.CONFLICT: 409}


class ApiError(Exception):
    """The request gets this answer instead of what it asked for."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def from_refusal(refused: Refused) -> ApiError:
    """Return the answer for a command that the store refused."""
    return ApiError(STATUS[refused.reason], refused.code, refused.message)


def not_authenticated() -> ApiError:
    """Return the answer for a token that is none of ours; the code is the documented one."""
    return ApiError(
        401,
        "users_service_unavailable",
        "The token is not valid: unknown here, or expired",
        {"WWW-Authenticate": "Bearer"},
    )
