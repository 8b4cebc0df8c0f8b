"""A handler that tries to steal its agent's token, run by a real agent with its real executor."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from server.testing import running_server
from tests.acceptance.agents import running_agent
from tests.unit.confine import thief
from tests.unit.confine.conftest import needs_landlock, needs_root
from tests.unit.confine.scene import ROOT, nobody, python_for_all
from tests.unit.confine.test_thefts import INSIDE, beyond_this_kernel
from worker.agent.task_user import NEEDED_CAPABILITIES
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

LIMIT_S = 15.0  # a bound for a hang, not a measure
HANDLER = '''
"""A handler that would like to have the token."""
import json, os, subprocess, sys
from pathlib import Path
from worker import Context, handler

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

@handler("steal")
def steal(ctx: Context, *, target: dict, thief: str) -> dict:
    """Let a thief look at the minder and at the agent; tell what it found, and who this is."""
    minder = os.getppid()
    told = {}
    Path("made.txt").write_text("mine")
    for name, pid in (("agent", parent(minder)), ("minder", minder)):
        play = Path.cwd() / name
        play.mkdir()
        aim = {**target, "pid": pid, "playground": str(play)}
        ran = subprocess.run([sys.executable, "-I", "-S", thief, json.dumps(aim)], stdout=-1, check=True)
        told[name] = json.loads(ran.stdout)
    return {"told": told, "home": os.environ["HOME"], "uid": os.getuid(), "environment": sorted(os.environ)}

@handler("smuggle")
def smuggle(ctx: Context, *, path: str) -> None:
    """Hand over as a result what only the agent can read."""
    if path.startswith("link to "):
        Path("link").symlink_to(path.removeprefix("link to "))
        path = "link"
    if path.endswith("*"):
        path = str(max(Path(path[:-1]).iterdir()))
    ctx.artifact(path, name="loot")

@handler("keep")
def keep(ctx: Context) -> dict:
    """Make a file that the agent must be able to store."""
    Path("out.txt").write_text("made by the handler")
    ctx.artifact("out.txt")
    return {"cwd": str(Path.cwd())}
'''


@pytest.fixture
def base(open_path: Path) -> Path:
    """Give a folder with the handlers that everybody can pass."""
    (open_path / "own.py").write_text(HANDLER)
    (open_path / "thief.py").write_text(Path(thief.__file__).read_text())
    return open_path


async def ended(api: JobsApi, task_id: str, agent: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """Return the run of a task once it has stopped."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for run in await api.list_runs(task_id=task_id):
                if run.raw["stoppedAt"]:
                    return run.raw
            assert agent.poll() is None, said(log)
            await asyncio.sleep(0.05)


def said(log: Path) -> str:
    """Return the last that an agent logged."""
    return log.read_text()[-3000:]


def work(
    base: Path,
    tasks: list[tuple[str, dict[str, Any]]],
    settings: Mapping[str, str],
    *,
    python: str = sys.executable,
    agent_uid: int | None = None,
    capabilities: bool = False,
) -> list[dict[str, Any]]:
    """Let an agent with these settings do tasks; return their runs. Its token is in a file and a variable.

    It runs as `agent_uid`, and with `capabilities` it may change users nevertheless.
    """

    async def main() -> list[dict[str, Any]]:
        with running_server() as server:
            token, log = server.new_token("isolated"), base / "agent" / "agent.log"
            token_file = base / "secret" / "token"
            token_file.parent.mkdir(mode=0o755)
            token_file.write_text(token)
            token_file.chmod(0o600)
            if agent_uid is not None:
                (base / "agent").mkdir()
                for path in (token_file, base / "agent"):
                    os.chown(path, agent_uid, agent_uid)
            target = {
                "token_file": str(token_file),
                "state": str(base / "agent" / "state"),
                "code": str(base / "own.py"),
                "socket": "nobody-listens",
                "is_spared": agent_uid is not None and not capabilities,
                "pattern": token[:8] + f"[A-Za-z0-9_-]{{{len(token) - 8}}}",
            }
            given = {"target": target, "thief": str(base / "thief.py"), "token_file": str(token_file)}
            given["link"] = f"link to {token_file}"
            given["journal"] = str(base / "agent" / "state" / "journal" / "*")
            everything = {
                "MILLHAND_HANDLERS": str(base / "own.py"),
                "HOME": str(base),
                "MILLHAND_TYPES": "steal,smuggle,keep",
                "MILLHAND_TOKEN_FILE": str(token_file),
                "PYTHONPATH": ":".join([str(ROOT), *(path for path in sys.path if "site-packages" in path)]),
                **settings,
            }
            async with open_api(ApiConfig(url=server.url, token=token)) as api:
                made = []
                for type_, parameters in tasks:
                    job = await api.create_job({"type": type_})
                    filled = {name: given.get(str(value), value) for name, value in parameters.items()}
                    made.append(await api.create_task({"jobId": job.id, "type": type_, "parameters": filled}))
                with running_agent(
                    base / "agent", server.url, token, slots=1, settings=everything,
                    python=python, uid=None if capabilities else agent_uid,
                ) as agent:  # fmt: skip
                    try:
                        runs = [await ended(api, task.id, agent, log) for task in made]
                    except TimeoutError:
                        pytest.fail(said(log))
                assert token not in log.read_text()
                return runs

    return asyncio.run(main())


KEEP: tuple[str, dict[str, Any]] = ("keep", {})
REFUSED = re.compile("not the handler's to hand over|cannot be read|Permission denied|no regular file")
STEAL = ("steal", {"target": "target", "thief": "thief"})


def gains(run: dict[str, Any]) -> dict[str, set[str]]:
    """Return what the thief got, at the agent and at the minder."""
    assert run["resultCode"] == "Success", run
    told = run["results"]["told"]
    return {
        name: {way for way, came in told[name]["ways"].items() if came in {"found", "done"}} for name in told
    }


@needs_root
def test_handler_under_a_task_user_gets_at_nothing(base: Path) -> None:
    """The real agent as root, the handler as `nobody`: no token, no journal, no way into agent or minder."""
    if (python := python_for_all()) is None:
        pytest.skip("no Python here can be run by another user")
    stolen, kept = work(base, [STEAL, KEEP], {"MILLHAND_TASK_USER": "nobody"}, python=python)
    assert gains(stolen) == {"agent": set(), "minder": set()}
    assert stolen["results"]["uid"] == nobody().uid
    assert stolen["results"]["home"] == str(base / "agent" / "state" / "home")
    assert kept["resultCode"] == "Success"
    assert list((base / "agent" / "state" / "runs").iterdir()) == []


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv makes an agent with a few capabilities")
def test_task_user_of_an_agent_that_is_not_root_gets_at_nothing(base: Path) -> None:
    """With the capabilities that the agent names, it runs, stores, ends and removes as root does."""
    if (python := python_for_all()) is None:
        pytest.skip("no Python here can be run by another user")
    agent = pwd.getpwnam("daemon")
    held = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in NEEDED_CAPABILITIES)
    starter = base / "python"
    user = f"--reuid={agent.pw_uid} --regid={agent.pw_gid} --clear-groups"
    starter.write_text(
        f'#!/bin/sh\nexec setpriv {user} --inh-caps={held} --ambient-caps={held} {python} "$@"\n'
    )
    starter.chmod(0o755)
    stolen, kept = work(
        base, [STEAL, KEEP], {"MILLHAND_TASK_USER": "nobody"},
        python=str(starter), agent_uid=agent.pw_uid, capabilities=True,
    )  # fmt: skip
    assert gains(stolen) == {"agent": set(), "minder": set()}
    assert stolen["results"]["uid"] == nobody().uid
    assert kept["resultCode"] == "Success"
    assert list((base / "agent" / "state" / "runs").iterdir()) == []


@needs_landlock
def test_handler_under_landlock_gets_at_nothing(base: Path) -> None:
    """The same with one user for both, held by Landlock alone; run as root, root is the handler too."""
    stolen, kept = work(base, [STEAL, KEEP], {"MILLHAND_HARDENING": "landlock"})
    allowed = {"change the agent's code", *beyond_this_kernel()}  # a handler's own file is not hidden
    assert {name: ways - allowed for name, ways in gains(stolen).items()} == {"agent": set(), "minder": set()}
    assert kept["resultCode"] == "Success"


@needs_root
def test_handler_of_the_agents_user_finds_files_but_nothing_in_the_agent(base: Path) -> None:
    """Without either, a handler that is not root reads the token's file, and nothing out of the agent."""
    if (python := python_for_all()) is None:
        pytest.skip("no Python here can be run by another user")
    (run,) = work(base, [STEAL], {}, python=python, agent_uid=nobody().uid)
    got = gains(run)
    assert "token file" in got["agent"]
    assert got["agent"] & INSIDE == set()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="nothing set"),
        pytest.param({"MILLHAND_HARDENING": "landlock"}, id="landlock", marks=needs_landlock),
        pytest.param({"MILLHAND_TASK_USER": "nobody"}, id="task user", marks=needs_root),
    ],
)
def test_agent_stores_no_file_that_its_handler_must_not_read(base: Path, settings: dict[str, str]) -> None:
    """The agent, which may read more, is not talked into it: by path, by links, by its own state folder."""
    if (python := python_for_all() if settings.get("MILLHAND_TASK_USER") else sys.executable) is None:
        pytest.skip("no Python here can be run by another user")
    paths = ["token_file", "link", "journal", "/proc/self/environ"]
    if "MILLHAND_TASK_USER" in settings:
        paths.append("/etc/shadow")
    tasks: list[tuple[str, dict[str, Any]]] = [("smuggle", {"path": path}) for path in paths]
    runs = work(base, tasks, settings, python=python)
    assert {run["resultCode"] for run in runs} == {"Failed"}
    assert [run["error"] for run in runs if not REFUSED.search(run["error"])] == []
    assert list((base / "agent" / "state").glob("artifacts/*/loot")) == []
