"""Spool and store, as the settings say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.reporting.memory import MemoryIO
from tests.unit.reporting.samples import REPORT, entry
from worker.agent.files import open_spool, store_of, store_secrets
from worker.config import AgentConfig, ApiConfig
from worker.reporting.journal import Journal
from worker.storage.file import MadeFile, SpooledFile
from worker.storage.folder import FolderStore
from worker.storage.http_put import HttpStore
from worker.storage.objects import ObjectStore
from worker.storage.spool import Spool, SpoolError


def test_the_store_is_the_state_folder_unless_a_setting_says_otherwise(tmp_path: Path) -> None:
    """By the scheme of a URL."""
    places = {
        None: FolderStore,
        "/shared": FolderStore,
        "s3://bucket": ObjectStore,
        "https://host": HttpStore,
    }
    for place, kind in places.items():
        assert isinstance(store_of(AgentConfig(state_dir=tmp_path, artifacts=place)), kind)
    store = store_of(AgentConfig(state_dir=tmp_path))
    assert store.url_of("run-1", "a.stl") == (tmp_path / "artifacts" / "run-1" / "a.stl").as_uri()


def test_the_stores_token_and_the_credentials_of_its_url_are_secrets(tmp_path: Path) -> None:
    """A file wins over the value; a folder has none."""
    (tmp_path / "token").write_text("from-a-file\n")
    place = "https://ada:pass%2Fword@host/p?sig=abcdef"
    config = AgentConfig(state_dir=tmp_path, artifacts=place, store_token="given")
    assert {"given", "pass/word", "pass%2Fword", "sig=abcdef", "abcdef"} <= set(store_secrets(config)())
    config = AgentConfig(state_dir=tmp_path, store_token="given", store_token_file=tmp_path / "token")
    assert store_secrets(config)() == ("from-a-file",)
    assert store_secrets(AgentConfig(state_dir=tmp_path, artifacts="/shared"))() == ()


def test_a_file_of_a_token_is_followed_and_not_read_anew_for_each_run(tmp_path: Path) -> None:
    """A new token is known at the next look; while there is no file, the last one still counts."""
    file = tmp_path / "token"
    file.write_text("the-first")
    secrets = store_secrets(AgentConfig(state_dir=tmp_path, store_token_file=file))
    assert secrets() == ("the-first",)
    file.write_text("the-second-one")
    assert secrets() == ("the-second-one",)
    file.unlink()
    assert secrets() == ("the-second-one",)


def spool_after(tmp_path: Path, config: AgentConfig, *, damages: bool = False) -> Spool:
    """Keep files of two runs, one of them known to the journal; return the spool of the next start."""

    async def main() -> Spool:
        io = MemoryIO()
        journal = await Journal.open(io)
        files: tuple[SpooledFile, ...] = ()
        for run_id in ("run-1", "run-2"):
            (tmp_path / "work").mkdir(exist_ok=True)
            (tmp_path / "work" / "a").write_text("xyz")
            made = MadeFile(path=tmp_path / "work" / "a", name="a")
            files = await Spool(config.state_dir / "spool", 1).take(run_id, [made], tmp_path / "work")
        await journal.intent(entry("run-2"))
        await journal.ended("run-2", REPORT, files)
        if damages:
            io.disk.last()[30] ^= 1
        return await open_spool(config, await Journal.open(MemoryIO(io.disk)), None)

    return asyncio.run(main())


@pytest.mark.parametrize("damages", [False, True])
def test_a_start_keeps_what_the_journal_names_and_all_where_it_is_damaged(
    tmp_path: Path, damages: bool
) -> None:
    """A crash may leave files of no run; a damaged journal may have forgotten one."""
    config = AgentConfig(state_dir=tmp_path / "state", spool_bytes=6)
    spool = spool_after(tmp_path, config, damages=damages)
    left = sorted(path.name for path in (tmp_path / "state" / "spool").iterdir())
    assert left == (["run-1", "run-2"] if damages else ["run-2"])
    assert spool.is_full is damages


def test_handlers_cannot_have_the_agents_own_files_stored(tmp_path: Path) -> None:
    """Tokens and keys, the journal, folders of other runs."""
    state = tmp_path / "state"
    keys = [tmp_path / name for name in ("token", "store-token", "key", "cert", "hidden")]
    inside = [state / "journal" / "1.seg", state / "runs" / "other" / "x", state / "spool" / "r" / "0"]
    for path in (*keys, *inside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    api = ApiConfig(token_file=keys[0], client_key=keys[2], client_cert=keys[3])
    config = AgentConfig(state_dir=state, api=api, store_token_file=keys[1], hide=(str(keys[4]),))
    (state / "runs" / "mine").mkdir()

    async def main() -> None:
        spool = await open_spool(config, await Journal.open(MemoryIO()), None)
        for path in (*keys, *inside[:2]):
            with pytest.raises(SpoolError, match="not the handler's"):
                await spool.take("mine", [MadeFile(path=path, name="x")], state / "runs" / "mine")
        shared = tmp_path / "shared"
        shared.write_text("of everybody")
        assert await spool.take("mine", [MadeFile(path=shared, name="x")], state / "runs" / "mine")

    asyncio.run(main())
