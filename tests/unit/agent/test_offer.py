"""What of its handlers an agent offers, and what it says of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from worker.agent.offer import offered_types, reader_of, tell_lacks, tell_problems
from worker.config import AgentConfig
from worker.executor.catalogue import Catalogue, SourceProblem
from worker.executor.handler_entry import HandlerEntry
from worker.executor.named_secrets import NamedSecrets


def entry(type_: str, **fields: Any) -> HandlerEntry:
    """Return a handler."""
    return HandlerEntry(**({"type": type_, "target": f"mine:{type_}", "source": "mine"} | fields))


def of(*entries: HandlerEntry, **fields: Any) -> Catalogue:
    """Return the handlers of a machine."""
    return Catalogue(entries={one.type: one for one in entries}, **fields)


def config(**fields: Any) -> AgentConfig:
    """Return settings."""
    return AgentConfig(state_dir=Path("/nowhere"), **fields)


BOTH = of(entry("a"), entry("b"), entry("broken", problem="no"))


@pytest.mark.parametrize(("types", "offered"), [((), {"a", "b"}), (("b",), {"b"})])
def test_all_that_can_run_is_offered_or_what_is_wanted_of_it(
    types: tuple[str, ...], offered: set[str]
) -> None:
    """Never a handler that cannot run."""
    assert offered_types(BOTH, config(types=types)) == offered


@pytest.mark.parametrize(
    ("catalogue", "fields", "words"),
    [
        (BOTH, {"types": ("broken",)}, "types: no handler here for broken; there are: a, b"),
        (BOTH, {"type_concurrency": {"c": 1}}, "type_concurrency: no handler here for c"),
        (of(), {}, "no handler is installed"),
    ],
)
def test_what_is_wanted_and_not_here_is_named(
    catalogue: Catalogue, fields: dict[str, Any], words: str
) -> None:
    """A limit of a type that is misspelt would hold nothing."""
    with pytest.raises(ValueError, match=words):
        offered_types(catalogue, config(**fields))


def test_what_cannot_run_is_told_once_and_as_loud_as_it_is() -> None:
    """A machine that lacks something is as it should be; a broken handler is for a person."""
    here, broken = (
        entry("here", problem="no GPU", is_unavailable=True),
        entry("broken", problem="no such module"),
    )
    problem = SourceProblem("file.py", "is no Python")
    with capture_logs() as said:
        tell_problems(of(entry("a"), here, broken, problems=(problem,), warnings=("one replaces another",)))
    told = [(one["log_level"], one["event"], one.get("problem") or one.get("message")) for one in said]
    assert told == [
        ("info", "handler.unavailable", "no GPU"),
        ("warning", "handler.unavailable", "no such module"),
        ("warning", "handlers.unreadable", "is no Python"),
        ("warning", "handlers.replaced", "one replaces another"),
    ]


def test_secrets_are_read_only_where_a_handler_asks_for_some() -> None:
    """It takes a thread for each run."""
    assert reader_of(NamedSecrets(), ()) is None
    assert reader_of(NamedSecrets(), ("key",)) is not None


def test_a_secret_that_is_not_here_is_told() -> None:
    """With the handler that gets no tasks."""
    with capture_logs() as said:
        tell_lacks(of(entry("a"), entry("asks", secrets=("key",))), NamedSecrets())
    assert [(one["event"], one["type"]) for one in said] == [("handler.lacks_secret", "asks")]
    assert "key" in said[0]["reason"]
