"""SIGUSR1 to a real agent and a real server, and a bundle of it: all is told, no token, and they go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.acceptance.agents import STOP_S, running_agent, wait_until_started

LIMIT_S = 120.0  # a bound for a hang, not a measure
TOKEN = "hush-4c1d9e27"


def dumped(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Ask for the stacks, and return what the log says then."""
    process.send_signal(signal.SIGUSR1)
    end_mono = time.monotonic() + LIMIT_S
    while "stacks.dumped" not in (said := log.read_text()):
        assert process.poll() is None, said
        assert time.monotonic() < end_mono, said
        time.sleep(0.05)
    return said


def bundle(folder: Path, url: str) -> dict[str, str]:
    """Return the files of a support bundle of the agent."""
    path, log = folder / "bundle.tar.gz", folder / "agent/agent.log"
    told = {
        "MILLHAND_API_URL": url,
        "MILLHAND_TOKEN": TOKEN,
        "MILLHAND_STATE_DIR": str(folder / "agent/state"),
    }
    subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli.main", "support-bundle", "-o", str(path), "--log", str(log)],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "MILLHAND_CLOUD": "none", **told},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    with tarfile.open(path) as archive:
        opened = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        return {name: file.read().decode() for name, file in opened.items() if file is not None}


def events(said: str) -> list[dict[str, Any]]:
    """Return the lines of a log that are JSON."""
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_an_agent_and_a_server_say_what_they_are_at_and_go_on(tmp_path: Path) -> None:
    """Each thread and each task by file and line; no token; both end in order afterwards."""
    log = tmp_path / "server.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLHAND_")}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.cli.main", "serve", "--port", "0", "--db", "sqlite://"],
            env=environment | {"MILLHAND_SERVER_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        end_mono = time.monotonic() + LIMIT_S
        while "listening on" not in (said := log.read_text()):
            assert time.monotonic() < end_mono, said
            time.sleep(0.05)
        url = said.partition("listening on ")[2].split()[0].rstrip('",}')
        agent_log = tmp_path / "agent/agent.log"
        with running_agent(tmp_path / "agent", url, TOKEN, slots=1) as agent:
            wait_until_started(agent, tmp_path / "agent")
            said = dumped(agent_log, agent)
            stacks = [line for line in events(said) if line["event"] in {"stacks.thread", "stacks.tasks"}]
            assert any("Supervisor" in str(line["stack"]) for line in stacks)
            assert any(line.get("thread") == "MainThread" for line in stacks)
            assert TOKEN not in said
            files = bundle(tmp_path, url)
            assert json.loads(files["status.json"])["pid"] == agent.pid
            assert "millhand_slots 1.0" in files["metrics.txt"]
            assert "Supervisor" in files["stacks.txt"]
            assert "agent.started" in files["log.txt"]
            assert TOKEN not in "".join(files.values())
            said = dumped(log, server)
            assert "server/serve.py" in said
            assert TOKEN not in said
        server.terminate()
        assert server.wait(STOP_S) == 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait(STOP_S)
