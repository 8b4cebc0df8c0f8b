"""Spool and store of this agent, as its settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from worker.api.token import FileToken, FixedToken, TokenSource
from worker.config import AgentConfig
from worker.reporting.journal import Journal
from worker.storage.address import secrets_in
from worker.storage.opening import open_store
from worker.storage.spool import Spool
from worker.storage.store import Store
from worker.storage.taking import Rights

__all__ = ["open_spool", "store_of", "store_secrets"]


async def open_spool(config: AgentConfig, journal: Journal, reader_uid: int | None) -> Spool:
    """Return the spool, with what an earlier life left in it and the journal still names.

    Args:
        config: says where and how large.
        journal: knows which files are waited for.
        reader_uid: the user that handlers run as, where it is another one.
    """
    rights = Rights(tuple(kept_paths(config)), reader_uid)
    spool = Spool(config.state_dir / "spool", config.spool_bytes, rights)
    known = {entry.run_id: entry.files for entry in journal.entries.values() if entry.files}
    await spool.recover(known, keeps_unknown=journal.is_damaged)
    return spool


def store_of(config: AgentConfig) -> Store:
    """Return where the files of runs go."""
    place = config.artifacts or config.state_dir / "artifacts"
    return open_store(place, store_token(config), config.api.ca_file)


def store_token(config: AgentConfig) -> TokenSource:
    """Return where the store's token comes from; a file wins over a value."""
    return FileToken(config.store_token_file) if config.store_token_file else FixedToken(config.store_token)


def store_secrets(config: AgentConfig) -> Callable[[], tuple[str, ...]]:
    """Return what tells what of the store must never be seen: its token, and the credentials of its URL."""
    source, of_url = store_token(config), secrets_in(config.artifacts)
    return lambda: (*((token,) if (token := source.current()) else ()), *of_url)


def kept_paths(config: AgentConfig) -> Iterator[Path]:
    """Yield what handlers may not hand over, although the agent can read it."""
    for name in ("journal", "spool", "runs"):
        yield (config.state_dir / name).resolve()
    keys = (config.api.token_file, config.api.client_key, config.api.client_cert, config.store_token_file)
    if config.secrets_dir is not None:
        yield config.secrets_dir.expanduser().resolve()
    for path in (*keys, *map(Path, config.hide)):
        if path is not None:
            yield path.expanduser().resolve()
