"""What kind of server the foreign one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Switches"]


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Ways in which servers of the documented API differ."""

    duplicate: Literal["409", "422", "500", "200"] = "409"  # POST of a known run; "200": the known one
    ids: Literal["honour", "ignore", "overwrite"] = "honour"  # what becomes of a run's id in a POST
    put_stopped: Literal["404", "409", "422", "accept"] = "404"  # "modifies an incomplete run"
    lag_s: float = 0.0  # lists show the state of so long ago
    lagging_gets: bool = False  # objects by id lag too
    strict_fields: bool = False  # undocumented fields are refused with 422
    strings: bool = False  # every field of updateRunBody must be a string
    unpaged: bool = False  # ignores page and perPage, and answers all
    wrapped: bool = False  # tasks and runs come in lists of one, as jobs do
    numbers_as_strings: bool = False  # in answers
    dated: bool = True  # answers say when, by the server's clock
    clock_off_s: float = 0.0  # how far that clock is from everybody else's
    org_id: str = "org-foreign"
    token: str = "foreign-token"
