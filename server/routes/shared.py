"""What the endpoints of all nouns do alike."""

from __future__ import annotations

from typing import Any, Final

from server.http.failure import ApiError
from server.http.operation import Call
from server.http.query import one

__all__ = ["ORG_ID", "check_org", "creator"]

ORG_ID: Final = one("orgId", "Organization ID; narrows to it, and never beyond the token's organization")


def check_org(call: Call, values: dict[str, Any]) -> None:
    """Let nobody create in another organisation.

    Raises:
        ApiError: 403.
    """
    told = values.get("org_id", call.org_id)
    if told != call.org_id or call.narrows_to_nothing:
        raise ApiError(403, "forbidden", "orgId: the token is not of that organization")


def creator(call: Call, values: dict[str, Any]) -> str:
    """Return who creates: as the body says, else the token."""
    return str(values.get("created_by", call.principal.token_id))
