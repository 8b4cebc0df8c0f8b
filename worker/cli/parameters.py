"""Parameters of tasks as they are typed: values, ranges, and every combination of them. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import isfinite, prod
from pathlib import Path
from typing import Any, Final, NoReturn

from worker.cli.exits import CliError, ExitCode

__all__ = [
    "TASKS_MAX", "combinations", "one_set", "parse_value", "read_param_file", "read_requires", "read_retries",
    "with_limits", "with_retry",
]  # fmt: skip

TASKS_MAX: Final = 100_000  # of one submit; more is rather a mistake in a range
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
RANGE: Final = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(\d+))?")


def parse_value(text: str) -> Any:
    """Return JSON where the text is JSON, else the text itself: ``64`` is a number, ``stl`` is text."""
    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError):
        return text


def refuse(constant: str) -> NoReturn:
    """Refuse NaN and Infinity: they are no JSON."""
    raise ValueError(f"{constant} is no number of JSON")


def finite(text: str) -> float:
    """Return a number; refuse one that is too large for any: it would become Infinity."""
    value = float(text)
    return value if isfinite(value) else refuse(text)


def values_of(text: str) -> Sequence[Any]:
    """Return the values that a text stands for: those of a range ``1..240`` or ``0..100..10``, or the one.

    Raises: CliError where the range is empty.
    """
    if (match := RANGE.fullmatch(text)) is None:
        return [parse_value(text)]
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if step == 0 or last < first:
        raise CliError(
            f"the range {text} has no values",
            "write it from low to high, like 1..240 or 0..100..10",
            code=ExitCode.USAGE,
        )
    return range(first, last + 1, step)


def combinations(
    pairs: Iterable[tuple[str, str]], base: Sequence[Mapping[str, Any]] = ({},)
) -> list[dict[str, Any]]:
    """Return a set of parameters for every combination of the values that were given.

    A name that is given several times has several values. `base` are sets to start from; what is
    given by name wins over them.

    Raises: CliError where that makes more sets than one submit may have tasks.
    """
    values: dict[str, list[Sequence[Any]]] = {}
    for name, text in pairs:
        values.setdefault(name, []).append(values_of(text))
    total = len(base) * prod(sum(map(len, parts)) for parts in values.values())
    check_count(total)
    flat = [[value for part in parts for value in part] for parts in values.values()]
    return [
        {**start, **dict(zip(values, chosen, strict=True))} for start in base for chosen in product(*flat)
    ]


def check_count(total: int) -> None:
    """Raise CliError where a submit would have too many tasks."""
    if total > TASKS_MAX:
        raise CliError(
            f"this makes {total} tasks, more than {TASKS_MAX}",
            "check the ranges, or submit it in parts",
            code=ExitCode.USAGE,
        )


def one_set(pairs: Iterable[tuple[str, str]], base: Sequence[Mapping[str, Any]] = ({},)) -> dict[str, Any]:
    """Return the one set of parameters, for a single run.

    Raises: CliError where several were given.
    """
    sets = combinations(pairs, base)
    if len(sets) != 1:
        raise CliError(
            f"{len(sets)} sets of parameters were given, and this runs one",
            "give each parameter once; `millhand submit` makes a task per combination",
            code=ExitCode.USAGE,
        )
    return sets[0]


def read_param_file(path: Path) -> list[dict[str, Any]]:
    """Return the sets of parameters in a JSON or TOML file: one object, or a list of them.

    Raises: CliError where the file has anything else.
    """
    todo = "write one JSON object, a JSON list of objects, or a .toml file"
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CliError(f"parameter file {path} is larger than 64 MiB", todo, code=ExitCode.USAGE)
        text = path.read_text(encoding="utf-8")
        content = (
            tomllib.loads(text, parse_float=finite)
            if path.suffix == ".toml"
            else json.loads(text, parse_constant=refuse, parse_float=finite)
        )
    except OSError as exc:
        raise CliError(f"parameter file {path}: {exc.strerror}", code=ExitCode.USAGE) from exc
    except (ValueError, RecursionError) as exc:
        raise CliError(f"parameter file {path} cannot be read: {exc}", todo, code=ExitCode.USAGE) from exc
    sets = content if isinstance(content, list) else [content]
    if not sets or not all(isinstance(one, dict) for one in sets):
        raise CliError(f"parameter file {path} does not hold parameters", todo, code=ExitCode.USAGE)
    return sets


def read_requires(pairs: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    """Return `parameters.requires` from what was typed; None where nothing was.

    Raises: CliError where no agent could read it.
    """
    from worker.agent.requirements import read_requirements

    needs: dict[str, Any] = {}
    for name, text in pairs:
        if name in {"labels", "label"}:
            needs.setdefault("labels", []).append(text)
        else:
            needs[name] = parse_value(text)
    if problems := read_requirements(needs)[1]:
        raise CliError("; ".join(problems), "see: millhand submit --help", code=ExitCode.USAGE)
    return needs or None


def with_limits(parameters: dict[str, Any], typed: Mapping[str, float | None]) -> dict[str, Any]:
    """Return parameters with the limits that were typed; they win over what `limits` says already.

    Raises: CliError where no agent could read them.
    """
    from worker.executor.task_limits import read_limits

    told = {name: limit for name, limit in typed.items() if limit is not None}
    before = parameters.get("limits")
    limits = {**before, **told} if told and isinstance(before, dict) else told or before
    if problems := read_limits(limits)[1]:
        raise CliError("; ".join(problems), "see: millhand submit --help", code=ExitCode.USAGE)
    return parameters if limits is before else {**parameters, "limits": limits}


def read_retries(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return what was typed of `parameters.retry`; a name that is given several times is a list."""
    typed: dict[str, Any] = {}
    for name, text in pairs:
        value = parse_value(text)
        typed[name] = value if name not in typed else [*as_list(typed[name]), value]
    return typed


def as_list(value: Any) -> list[Any]:
    """Return a list itself, and anything else as the only one of a list."""
    return value if isinstance(value, list) else [value]


def with_retry(parameters: dict[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with what was typed of `retry`; it wins over what `retry` says already.

    Raises: CliError where no agent could read it.
    """
    from worker.executor.task_retry import read_retry

    before = parameters.get("retry")
    retry = {**before, **typed} if typed and isinstance(before, dict) else typed or before
    if problems := read_retry(retry)[1]:
        raise CliError("; ".join(problems), "see: millhand submit --help", code=ExitCode.USAGE)
    return parameters if retry is before else {**parameters, "retry": dict(retry or {})}
