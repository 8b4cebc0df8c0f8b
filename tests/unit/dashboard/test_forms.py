"""Forms from schemas: of any shape that an agent may tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.dashboard.forms import BadField, fields_of, parameters_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
# A busy machine draws slowly.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.sampled_from(["type", "properties", "required", "anyOf", "enum", "default", "$ref", "$defs", "x"])


@patient
@given(st.dictionaries(WORDS, st.dictionaries(WORDS | st.text(), JSON, max_size=4) | JSON, max_size=4))
def test_a_schema_of_any_shape_gives_a_form(schema: dict[str, Any]) -> None:
    """Agents of other versions, or strangers, tell it."""
    for field in fields_of(schema):
        assert field.key == f"p.{field.name}"
        assert isinstance(field.default, str)


@patient
@given(JSON.filter(lambda value: value is not None and not isinstance(value, bool)))
def test_what_is_filled_in_as_json_is_what_is_sent(value: Any) -> None:
    """Down to its types."""
    import json

    (field,) = fields_of({"properties": {"a": {}}})
    assert parameters_of([field], {"p.a": json.dumps(value)}) == {"a": value}


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
        ({"$ref": "#/$defs/Speed"}, "number"),
        ({"enum": ["a", "b"]}, "choice"),
        ({"type": "array"}, "json"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "json"),
        ({"$ref": "#/$defs/Missing"}, "json"),
    ],
)
def test_simple_types_have_simple_fields(about: dict[str, Any], kind: str) -> None:
    """All others are filled in as JSON."""
    (field,) = fields_of({"properties": {"a": about}, "$defs": {"Speed": {"type": "number"}}})
    assert field.kind == kind


def test_a_default_is_written_as_it_is_read() -> None:
    """A form that is sent as it came says what the handler would take anyway."""
    properties = {
        "text": {"type": "string", "default": "as it is"},
        "size": {"type": "integer", "default": 5},
        "list": {"type": "array", "default": [1, "b"]},
        "none": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    }
    fields = fields_of({"properties": properties})
    sent = {field.key: field.default for field in fields}
    assert parameters_of(fields, sent) == {"text": "as it is", "size": 5, "list": [1, "b"]}


@pytest.mark.parametrize("text", ["true", "1.0", '"1"', "1e400", "[1]", "", " "])
def test_a_whole_number_is_nothing_else(text: str) -> None:
    """An empty field is left out."""
    (field,) = fields_of({"properties": {"a": {"type": "integer"}}})
    if not text.strip():
        assert parameters_of([field], {"p.a": text}) == {}
        return
    with pytest.raises(BadField, match="a: "):
        parameters_of([field], {"p.a": text})
