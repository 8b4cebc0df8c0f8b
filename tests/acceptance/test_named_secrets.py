"""Secrets by name under a real agent: a task waits until its secret is here, and no handler sees others'."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.testing import running_server
from tests.acceptance.agents import running_agent, wait_until_started
from tests.acceptance.test_isolated_handlers import ended, said
from tests.unit.confine.conftest import needs_landlock, needs_root
from tests.unit.confine.scene import ROOT, python_for_all
from worker.api.connect import open_api
from worker.config import ApiConfig

HANDLER = '''
import os
from pathlib import Path
from worker import Context, handler

@handler("one", secrets=("FIRST", "BY_VARIABLE"))
def one(ctx: Context, *, folder: str) -> dict:
    """Show its secrets, and try to read the folder and the agent's environment."""
    print("mine:", ctx.secrets["FIRST"])
    found = []
    for path in (f"{folder}/SECOND", f"/proc/{os.getppid()}/environ"):
        try:
            found.append("second-secret" in Path(path).read_text(errors="replace"))
        except OSError:
            found.append(False)
    return {"first": len(ctx.secrets["FIRST"]), "variable": ctx.secrets["BY_VARIABLE"], "found": found,
            "environment": [name for name in os.environ if "SECRET" in name]}

@handler("two", secrets=("SECOND", "LATER"))
def two(ctx: Context, *, folder: str) -> dict:
    """Use a secret that comes later."""
    return {"length": len(ctx.secrets["LATER"])}
'''


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a folder that everybody can pass, with handlers and secrets."""
    with tempfile.TemporaryDirectory(prefix="millhand-named-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "own.py").write_text(HANDLER)
        (folder / "secrets").mkdir(mode=0o700)
        (folder / "secrets" / "FIRST").write_text("first-secret\n")
        (folder / "secrets" / "SECOND").write_text("second-secret\n")
        yield folder


def environment_of(pid: int) -> bytes:
    """Return what root sees of a process's environment."""
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize(
    ("settings", "is_hidden"),
    [
        pytest.param({}, False, id="nothing set"),
        pytest.param({"MILLHAND_HARDENING": "landlock"}, True, id="landlock", marks=needs_landlock),
        pytest.param({"MILLHAND_TASK_USER": "nobody"}, True, id="task user", marks=needs_root),
    ],
)
def test_a_task_waits_until_its_secret_is_here(base: Path, settings: dict[str, str], is_hidden: bool) -> None:
    """Others go on meanwhile; the agent says what it misses, and shows none of them anywhere."""
    if (python := python_for_all() if settings.get("MILLHAND_TASK_USER") else sys.executable) is None:
        pytest.skip("no Python here can be run by another user")
    log = base / "agent" / "agent.log"

    async def main() -> tuple[dict[str, Any], dict[str, Any], int]:
        with running_server() as server:
            token = server.new_token("named")
            everything = {
                "MILLHAND_HANDLERS": str(base / "own.py"),
                "HOME": str(base),
                "MILLHAND_TYPES": "one,two",
                "MILLHAND_POLL_INTERVAL": "0.2",
                "MILLHAND_POLL_MAX": "0.2",
                "MILLHAND_LONG_POLL": "0",
                "MILLHAND_SECRETS_DIR": str(base / "secrets"),
                "MILLHAND_SECRET_BY_VARIABLE": "variable-secret",
                "PYTHONPATH": ":".join([str(ROOT), *(path for path in sys.path if "site-packages" in path)]),
                **settings,
            }
            given = {"folder": str(base / "secrets")}
            async with open_api(ApiConfig(url=server.url, token=token)) as api:

                async def make(type_: str) -> str:
                    job = await api.create_job({"type": type_})
                    return (await api.create_task({"jobId": job.id, "type": type_, "parameters": given})).id

                with running_agent(
                    base / "agent", server.url, token, slots=1, settings=everything, python=python
                ) as agent:
                    wait_until_started(agent, base / "agent")
                    waiting = await make("two")
                    one = await ended(api, await make("one"), agent, log)
                    runs_before = len(await api.list_runs(task_id=waiting))
                    (base / "secrets" / "LATER").write_text("later-secret")
                    two = await ended(api, waiting, agent, log)
                    if os.geteuid() == 0:
                        assert b"variable-secret" not in environment_of(agent.pid)
            return one, two, runs_before

    try:
        one, two, runs_before = asyncio.run(main())
    except TimeoutError:
        pytest.fail(said(log))
    text = log.read_text()
    assert one["resultCode"] == two["resultCode"] == "Success", (one, two)
    assert runs_before == 0
    assert one["results"]["first"] == 12
    assert one["results"]["variable"] == "[redacted]"
    assert one["results"]["environment"] == []
    if is_hidden:
        assert one["results"]["found"] == [False, False]
    assert two["results"]["length"] == 12
    assert "handler.lacks_secret" in text
    assert "secret LATER is not on this machine" in text
    for secret in ("first-secret", "variable-secret", "later-secret"):
        assert secret not in text + str(one) + str(two)
