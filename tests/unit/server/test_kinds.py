"""What the OpenAPI document says of a value is taken, in every form that it allows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.http import kinds
from server.http.kinds import Kind

KINDS = {name: getattr(kinds, name) for name in kinds.__all__ if name != "Kind"}


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that fit."""
    if "anyOf" in schema:
        return st.one_of(*(values_of(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    bounds: Any = {"min_value": schema.get("minimum"), "max_value": schema.get("maximum")}
    match schema["type"]:
        case "string" if "pattern" in schema:
            fits = st.from_regex(schema["pattern"], fullmatch=True, alphabet=st.characters(codec="utf-8"))
            return fits.filter(lambda text: len(text) <= schema.get("maxLength", len(text)))
        case "string" if schema.get("format") == "date-time":
            return st.datetimes().map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z")
        case "string":
            return st.text(st.characters(codec="utf-8"), max_size=20)
        case "integer":
            return st.integers(**bounds)
        case "number":
            return st.floats(**bounds, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
    return st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)


@pytest.mark.parametrize("name", KINDS)
def test_a_value_that_fits_its_schema_is_taken(name: str) -> None:
    """Numbers as numbers and as strings, ids of any letters; none of them is refused by its form."""
    kind: Kind = KINDS[name]

    @settings(max_examples=100, deadline=None, database=None)
    @given(values_of(kind.schema))
    def check(value: Any) -> None:
        kind.read(msgspec.json.encode(value))

    check()
