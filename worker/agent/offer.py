"""What of the handlers here this agent offers, and what keeps it from the others."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from worker.config import AgentConfig
from worker.executor.catalogue import Catalogue
from worker.executor.named_secrets import NamedSecrets

__all__ = ["offered_types", "reader_of", "tell_lacks", "tell_problems"]

log = structlog.get_logger()


def offered_types(catalogue: Catalogue, config: AgentConfig) -> frozenset[str]:
    """Return the types that this agent takes.

    Raises: ValueError where a wanted type has no handler, or there is no handler at all.
    """
    offered = frozenset(catalogue.types)
    if missing := sorted(set(config.types) - offered):
        raise ValueError(
            f"types: no handler here for {', '.join(missing)}; there are: {', '.join(sorted(offered))}"
        )
    if missing := sorted(set(config.type_concurrency) - offered):
        raise ValueError(f"type_concurrency: no handler here for {', '.join(missing)}")
    if not offered:
        raise ValueError("no handler is installed; name some by MILLHAND_HANDLERS")
    return frozenset(config.types) or offered


def tell_problems(catalogue: Catalogue) -> None:
    """Log which handlers cannot run here, and why; `millhand handlers` shows more."""
    for entry in catalogue.entries.values():
        if entry.problem is not None:
            tell = log.info if entry.is_unavailable else log.warning
            tell("handler.unavailable", type=entry.type, source=entry.source, problem=entry.problem)
    for problem in catalogue.problems:
        log.warning("handlers.unreadable", source=problem.source, problem=problem.message)
    for warning in catalogue.warnings:
        log.warning("handlers.replaced", message=warning)


def tell_lacks(catalogue: Catalogue, secrets_here: NamedSecrets) -> None:
    """Log which handlers get no tasks, because a secret is not here; it is looked for at each poll."""
    for type_ in catalogue.types:
        for lack in secrets_here.lacks(catalogue.secrets_of(type_)):
            log.warning("handler.lacks_secret", type=type_, reason=lack)


def reader_of(secrets: NamedSecrets, names: Collection[str]) -> Callable[[], dict[str, str]] | None:
    """Return what reads a handler's secrets; None where it asks for none: a thread costs like a request."""
    return (lambda: secrets.read(names)) if names else None
