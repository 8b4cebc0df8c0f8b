"""Inputs that a real agent keeps for its handlers, however they are confined."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.testing import running_server
from tests.acceptance.agents import running_agent
from tests.acceptance.test_isolated_handlers import ended, said
from tests.unit.confine.conftest import needs_landlock, needs_root
from tests.unit.confine.scene import ROOT, nobody, python_for_all
from tests.unit.sdk.file_server import file_server
from worker.api.connect import open_api
from worker.config import ApiConfig

BODY = b"0123456789abcdef" * 65536  # 1 MiB
HANDLER = '''
import hashlib
from pathlib import Path
from worker import Context, handler

def got(ctx, url, key):
    """Take an input, change it, and try to read the agent's key."""
    path = ctx.input(url)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"changed by its run")
    try:
        has_key = bool(Path(key).read_bytes())
    except OSError:
        has_key = False
    return {"sha256": digest, "has_key": has_key}

@handler("fetch")
def fetch(ctx: Context, *, url: str, key: str) -> dict:
    return got(ctx, url, key)

@handler("other")
def other(ctx: Context, *, url: str, key: str) -> dict:
    return got(ctx, url, key)
'''


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a folder that everybody can pass, with a handler in it."""
    with tempfile.TemporaryDirectory(prefix="millhand-inputs-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "own.py").write_text(HANDLER)
        yield Path(folder)


def work(
    base: Path, url: str, types: list[str], settings: dict[str, str], python: str
) -> list[dict[str, Any]]:
    """Let an agent do a task of each type, one after another; return their runs."""

    async def main() -> list[dict[str, Any]]:
        with running_server() as server:
            token, log = server.new_token("inputs"), base / "agent" / "agent.log"
            everything = {
                "MILLHAND_HANDLERS": str(base / "own.py"),
                "HOME": str(base),
                "MILLHAND_TYPES": "fetch,other",
                "MILLHAND_INPUT_CACHE": str(base / "inputs"),
                "PYTHONPATH": ":".join([str(ROOT), *(path for path in sys.path if "site-packages" in path)]),
                **settings,
            }
            given = {"url": url, "key": str(base / "inputs" / "key")}
            async with open_api(ApiConfig(url=server.url, token=token)) as api:
                with running_agent(
                    base / "agent", server.url, token, slots=1, settings=everything, python=python
                ) as agent:
                    runs = []
                    for type_ in types:
                        job = await api.create_job({"type": type_})
                        task = await api.create_task({"jobId": job.id, "type": type_, "parameters": given})
                        try:
                            runs.append(await ended(api, task.id, agent, log))
                        except TimeoutError:
                            pytest.fail(said(log))
                    return runs

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("settings", "has_key"),
    [
        pytest.param({}, True, id="nothing set"),
        pytest.param({"MILLHAND_HARDENING": "landlock"}, False, id="landlock", marks=needs_landlock),
        pytest.param({"MILLHAND_TASK_USER": "nobody"}, False, id="task user", marks=needs_root),
    ],
)
def test_an_input_is_downloaded_once_by_each_type(
    base: Path, settings: dict[str, str], has_key: bool
) -> None:
    """Then it is the server's word that nothing changed; what a run does to its file stays in its folder."""
    if (python := python_for_all() if settings.get("MILLHAND_TASK_USER") else sys.executable) is None:
        pytest.skip("no Python here can be run by another user")
    with file_server() as files:
        files.files["/scene.bin"] = BODY
        runs = work(base, f"{files.url}/scene.bin", ["fetch", "fetch", "other", "fetch"], settings, python)
        assert [run["resultCode"] for run in runs] == ["Success"] * 4, runs
        assert {run["results"]["sha256"] for run in runs} == {hashlib.sha256(BODY).hexdigest()}
        assert {run["results"]["has_key"] for run in runs} == {has_key}
        assert files.asks("If-None-Match") == [None, files.etag("/scene.bin"), None, files.etag("/scene.bin")]
        assert files.sent_bytes == 2 * len(BODY)
    uid = nobody().uid if "MILLHAND_TASK_USER" in settings else os.geteuid()
    kept = base / "inputs" / f"user-{uid}" / "content" / hashlib.sha256(BODY).hexdigest()
    assert kept.read_bytes() == BODY
    assert kept.stat().st_uid == uid
