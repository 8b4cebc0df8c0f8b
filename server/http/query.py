"""Query parameters: declared once, read tolerantly, refused with the parameter's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qsl

from msgspec import Struct

from server.http.failure import ApiError
from server.store.queries import Page, Sort

__all__ = [
    "BEARER_TOKEN",
    "PAGING",
    "Parameter",
    "Parameters",
    "choice",
    "one",
    "page_of",
    "paging",
    "parse",
    "read_all",
    "several",
]

LARGEST_PAGE: Final = 1_000_000
PER_PAGE_DEFAULT: Final = 30
PER_PAGE_MOST: Final = 100
MOST_VALUES: Final = 1_000  # of one parameter; SQLite takes some 32,000 in a statement

Parameters = dict[str, list[str]]


class Parameter(Struct, frozen=True):
    """A query parameter as documented; `read` checks all values that came and returns one of ours."""

    name: str
    description: str
    schema: dict[str, Any]
    read: Callable[[list[str]], Any]


def parse(query_string: bytes) -> Parameters:
    """Read a query string; an empty value is the same as no parameter."""
    found: Parameters = {}
    if not query_string:
        return found
    for name, value in parse_qsl(query_string.decode("latin-1"), errors="replace"):
        found.setdefault(name, []).append(value)
    return found


def read_all(declared: Iterable[Parameter], given: Parameters, code: str) -> dict[str, Any]:
    """Return the value of each declared parameter.

    Raises:
        ApiError: 422 whose message names the parameter.
    """
    values = {}
    for parameter in declared:
        try:
            values[parameter.name] = parameter.read(given.get(parameter.name, []))
        except ValueError as exc:
            raise ApiError(422, code, f"{parameter.name}: {exc}") from exc
    return values


def one(name: str, description: str) -> Parameter:
    """Declare a parameter with one text value; the last one counts."""
    return Parameter(name, description, {"type": "string"}, lambda values: values[-1] if values else None)


def several(name: str, description: str) -> Parameter:
    """Declare a parameter that may be repeated or hold values separated by commas."""
    schema = {"type": "array", "items": {"type": "string"}}
    return Parameter(name, f"{description}; repeat it or separate by commas", schema, _split)


def choice(name: str, description: str, allowed: tuple[str, ...]) -> Parameter:
    """Declare as `several`, with only these values."""

    def read(values: list[str]) -> tuple[str, ...]:
        chosen = _split(values)
        if unknown := [value for value in chosen if value not in allowed]:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {unknown[0]!r}")
        return chosen

    schema = {"type": "array", "items": {"type": "string", "enum": list(allowed)}}
    return Parameter(name, f"{description}; repeat it or separate by commas", schema, read)


def paging(orders: Iterable[str]) -> tuple[Parameter, ...]:
    """Declare `page`, `perPage` and `sort` with the fields that a list can be sorted by."""
    allowed = tuple(orders)

    def read_sort(values: list[str]) -> Sort | None:
        return _sort(values[-1], allowed) if values else None

    schema = {"type": "string", "enum": [sign + field for field in allowed for sign in "+-"]}
    sort = Parameter("sort", "+field or -field; by default +createdAt", schema, read_sort)
    return (*PAGING, sort)


def page_of(values: dict[str, Any]) -> Page:
    """Return the page that was asked for."""
    return Page(number=values["page"], size=values["perPage"], sort=values["sort"])


def _sort(text: str, allowed: tuple[str, ...]) -> Sort:
    # A plus sign that was not escaped arrives as a space.
    field = text.strip().removeprefix("+") if not text.startswith("-") else text[1:]
    if field not in allowed:
        raise ValueError(f"must be + or - and one of {', '.join(allowed)}, not {text!r}")
    return Sort(field, text.startswith("-"))


def _split(values: list[str]) -> tuple[str, ...]:
    parts = (part.strip() for value in values for part in value.split(","))
    found = tuple(dict.fromkeys(part for part in parts if part))
    if len(found) > MOST_VALUES:
        raise ValueError(f"must not be more than {MOST_VALUES} values")
    return found


def _whole(default: int, most: int) -> Callable[[list[str]], int]:
    def read(values: list[str]) -> int:
        text = values[-1].strip() if values else str(default)
        if (
            not (text.isascii() and text.isdigit())
            or len(text) > len(str(most))
            or not 1 <= int(text) <= most
        ):
            raise ValueError(f"must be a whole number from 1 to {most}, not {text[:40]!r}")
        return int(text)

    return read


BEARER_TOKEN: Final = one("bearer_token", "The token, where no Authorization header can be sent")
PAGING: Final = (
    Parameter(
        "page",
        "Page to return, from 1",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 1},
        _whole(1, LARGEST_PAGE),
    ),
    Parameter(
        "perPage",
        "Entries per page",
        {"type": "integer", "minimum": 1, "maximum": PER_PAGE_MOST, "default": PER_PAGE_DEFAULT},
        _whole(PER_PAGE_DEFAULT, PER_PAGE_MOST),
    ),
)
