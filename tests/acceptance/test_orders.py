"""Orders to a real agent by the command line: it holds, goes on, ends; its handlers cannot have it do so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from server.testing import RunningServer, running_server
from tests.acceptance.agents import STOP_S, running_agent, start_agent, wait_until_started

LIMIT_S = 60.0  # a bound for a hang, not a measure
HANDLER = '''
"""A handler that gives its agent orders, and one that does not end by itself."""
import os, socket, sys, time
from pathlib import Path
from worker import Context, handler

@handler("rebel")
def rebel(ctx: Context, *, at: str) -> dict:
    """Ask the agent to end, from here and from an orphan that left our session."""
    said = Path(ctx.workdir) / "said"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            said.with_suffix(".draft").write_text(ask(at))
            said.with_suffix(".draft").rename(said)
        os._exit(0)
    os.wait()
    own = ask(at)
    while not said.exists():
        time.sleep(0.02)
    return {"own": own, "orphan": said.read_text()}

def ask(at: str) -> str:
    """Return what the agent says to an order."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(at)
            sock.sendall(b'{"do": "drain", "isNow": true}\\n')
            return sock.recv(4096).decode()
    except OSError as exc:
        return repr(exc)

@handler("deaf")
def deaf(ctx: Context, *, go: str) -> dict:
    """Wait until a file is there."""
    ctx.progress(0.25)
    while not Path(go).exists():
        time.sleep(0.02)
    return {}
'''


def settings(folder: Path) -> dict[str, str]:
    """Return what these agents are told."""
    (folder / "own.py").write_text(HANDLER)
    return {
        "MILLHAND_HANDLERS": str(folder / "own.py"), "MILLHAND_LONG_POLL": "0",
        "MILLHAND_POLL_INTERVAL": "0.1", "MILLHAND_POLL_MAX": "0.2", "MILLHAND_DRAIN_TIMEOUT": "10m",
    }  # fmt: skip


def said(*args: str, state: Path) -> tuple[int, str, str]:
    """Return exit code and output of a command about an agent."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli.main", *args, "--state-dir", str(state)],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


def status(state: Path) -> dict[str, Any]:
    """Return the status; of an agent that does not answer yet, nothing."""
    code, out, _ = said("status", state=state)
    return dict(json.loads(out)) if code == 0 else {}


def until(is_so: Callable[[], Any]) -> Any:
    """Return what is so, once it is."""
    end_mono = time.monotonic() + LIMIT_S
    while not (found := is_so()):
        assert time.monotonic() < end_mono, "it never came"
        time.sleep(0.05)
    return found


class Client:
    """Somebody who gives work."""

    def __init__(self, server: RunningServer) -> None:
        """Ask a server."""
        self._url, self._headers = server.url, {"Authorization": f"Bearer {server.token}"}

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        with httpx.Client(
            base_url=self._url, headers=self._headers, trust_env=False, timeout=LIMIT_S
        ) as client:
            return client.request(method, path, **given).raise_for_status().json()

    def submit(self, type_: str, **parameters: str) -> str:
        """Make a job of one task; returns the task's id."""
        job = self._ask("POST", "/api/jobs", json={"title": "orders", "type": type_})[0]
        body = {"jobId": job["id"], "type": type_, "parameters": parameters}
        return str(self._ask("POST", "/api/jobs/tasks", json=body)["id"])

    def runs(self, task: str) -> list[dict[str, Any]]:
        """Return the runs of a task."""
        return list(self._ask("GET", "/api/jobs/runs", params={"taskId": task})["runs"])

    def result(self, task: str) -> dict[str, Any] | None:
        """Return the run of a task that has ended."""
        return next((run for run in self.runs(task) if run["stoppedAt"]), None)


def test_a_paused_agent_claims_nothing_until_it_is_told_also_after_a_kill(tmp_path: Path) -> None:
    """Killed while it is paused, it comes back paused; what waits is claimed after `resume`."""
    state, told = tmp_path / "agent/state", settings(tmp_path)
    with running_server() as server:
        client = Client(server)
        agent = start_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=told)
        try:
            until(lambda: status(state).get("isReady"))
            code, out, _ = said("pause", "--agent", "--reason", "it smells", state=state)
            assert (code, json.loads(out)["pid"]) == (0, agent.pid)
        finally:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait(STOP_S)
        (tmp_path / "agent/agent.log").unlink()
        code, _, err = said("status", state=state)
        assert (code, "no agent works in" in err) == (3, True)
        with running_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=told):
            go = tmp_path / "go"
            go.touch()
            task = client.submit("deaf", go=str(go))
            held = until(lambda: (now := status(state)).get("isReady") and now)["holds"]
            assert [(hold["by"], "it smells" in hold["reason"]) for hold in held] == [("operator", True)]
            shown = said("status", "--no-json", state=state)[1]
            assert "paused" in shown
            assert client.runs(task) == []
            assert said("resume", "--agent", state=state)[0] == 0
            assert until(lambda: client.result(task))["resultCode"] == "Success"


def test_a_drain_is_waited_for_and_a_handler_cannot_order_one(tmp_path: Path) -> None:
    """A handler and its orphan are sent away; a person waits until run and agent have ended."""
    state, told = tmp_path / "agent/state", settings(tmp_path) | {"MILLHAND_HARDENING": "none"}
    go = tmp_path / "go"
    with running_server() as server:
        client = Client(server)
        agent = start_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=told)
        try:
            wait_until_started(agent, tmp_path / "agent")
            rebel = client.submit("rebel", at=str(state / "control.sock"))
            ended = until(lambda: client.result(rebel))
            assert all("may not give" in ended["results"][who] for who in ("own", "orphan")), ended
            task = client.submit("deaf", go=str(go))
            until(lambda: status(state).get("runs"))
            command = [sys.executable, "-P", "-m", "worker.cli.main", "drain", "--wait", "--timeout", "5m"]
            with subprocess.Popen(
                [*command, "--json", "--state-dir", str(state)], stdout=subprocess.PIPE, text=True
            ) as waiting:
                until(lambda: status(state).get("drain"))
                assert said("pause", "--agent", state=state)[0] == 6
                go.touch()
                out, _ = waiting.communicate(timeout=LIMIT_S)
            assert (waiting.returncode, agent.wait(STOP_S)) == (0, 0)
            assert json.loads(out) == {
                "stateDir": str(state), "pid": agent.pid, "isGone": True, "openEntries": 0,
            }  # fmt: skip
            assert until(lambda: client.result(task))["resultCode"] == "Success"
            assert not (state / "control.sock").exists()
        finally:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
                agent.wait(STOP_S)
