"""Write down how functions are called, as their source says it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

__all__ = ["signature"]

WIDTH: Final = 100


def signature(name: str, function: Callable[..., Any], *, is_method: bool = False) -> str:
    """Return ``name(parameters) -> result``, on several lines where it is long."""
    found = inspect.signature(function)
    parameters = list(found.parameters.values())[1 if is_method else 0 :]
    parts = list(written(parameters))
    result = (
        ""
        if found.return_annotation in (found.empty, None, "None")
        else f" -> {text(found.return_annotation)}"
    )
    line = f"{name}({', '.join(parts)}){result}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def written(parameters: list[inspect.Parameter]) -> list[str]:
    """Return parameters, with the star before those that are given by name alone."""
    parts = []
    has_star = False
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not has_star:
            parts.append("*")
        has_star = has_star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        parts.append(parameter(one))
    return parts


def parameter(one: inspect.Parameter) -> str:
    """Return one parameter with its annotation and default."""
    star = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
    said = f"{star}{one.name}" + ("" if one.annotation is one.empty else f": {text(one.annotation)}")
    if one.default is one.empty:
        return said
    default = one.default.__name__ if inspect.isclass(one.default) else repr(one.default)
    return f"{said} = {default}" if ":" in said else f"{said}={default}"


def text(annotation: Any) -> str:
    """Return an annotation as it stands in the source."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
