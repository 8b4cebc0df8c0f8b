"""A class that stands for all parameters of a task: the names of its fields, and whether it takes others."""

from __future__ import annotations

from typing import Any, Literal

from worker.sdk.models import is_model
from worker.sdk.problems import fields_of

__all__ = ["extras_of", "known_names"]


def known_names(of: Any) -> frozenset[str] | None:
    """Return the names under which a task may give the fields of a class; None where it is no such class."""
    if is_model(of):
        return frozenset(
            name for field, value in of.model_fields.items() for name in aliases(of, field, value)
        )
    fields = fields_of(of)
    if fields is None:
        return None
    config = getattr(of, "__struct_config__", None)
    tag = config.tag_field if config is not None and config.tag is not None else None
    return frozenset(field.name for field in fields) | ({tag} if tag else frozenset())


def aliases(of: Any, name: str, field: Any) -> list[str]:
    """Return the names of a field of a model: its aliases, or its own."""
    alias = field.validation_alias
    choices = getattr(alias, "choices", [alias])
    found = [getattr(one, "path", [one])[0] for one in choices if one is not None]
    config = of.model_config
    is_by_name = config.get("populate_by_name") or config.get("validate_by_name")
    return [*found, name] if is_by_name or not found else found


def extras_of(of: Any) -> Literal["allow", "ignore", "forbid"] | None:
    """Return what a model says of fields that it does not know; None where nothing does: they are refused."""
    return of.model_config.get("extra") if is_model(of) else None
