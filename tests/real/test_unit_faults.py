"""The shipped agent's unit where things go wrong: deaths, a full memory, a drain that takes its time."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.engine import HERE
from tests.real.host import AGENT, Host
from tests.real.installed import WAITS, installed_host

RUNBOOK = HERE.parents[1] / "docs" / "runbook.md"
MIB = 1 << 20
HANDLERS = f'''{WAITS}
MIB = {MIB}

@handler("eat")
def eat(ctx: Context, mib: int = 4000, pause_s: float = 0.0) -> dict:
    """Take memory MiB by MiB, and hold it."""
    held = []
    for number in range(mib):
        held.append(b"x" * MIB)
        ctx.progress(number / mib)
        time.sleep(pause_s)
    return {{"held_mib": len(held)}}

@handler("finishes")
def finishes(ctx: Context) -> dict:
    """Go on when told to stop, until a file is there, as somebody who must save something."""
    while not Path("/run/go").exists():
        if ctx.stop_reason:
            ctx.progress(0.5, "saving")
        time.sleep(0.05)
    return {{"saved": bool(ctx.stop_reason)}}
'''

STUCK = """# The agent, with requests that never end while a file is there: real ones have a limit.
import asyncio
from pathlib import Path
import worker.agent.assemble
from worker.api.client import JobsApi
from worker.cli.main import main

def planted(name):
    request = getattr(JobsApi, name)
    async def stuck(*args, **options):
        if Path(f"/run/stuck-{name}").exists():
            await asyncio.Event().wait()
        return await request(*args, **options)
    setattr(JobsApi, name, stuck)

planted("poll")
planted("update_run")
worker.agent.assemble.PATIENCE_S = 3.0
main()
"""
HEALTH = "curl -s -w ' %{http_code}' http://127.0.0.1:9400/healthz"  # body, status
PLANTED = "/opt/millhand/current/bin/python -P /etc/millhand/stuck.py agent"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Boot, and install server and agent from the wheel of this tree."""
    with installed_host(HANDLERS) as it:
        yield it


@pytest.fixture(autouse=True)
def fresh(host: Host) -> Iterator[None]:
    """Count starts from nothing, and leave a unit that works."""
    host.sh(f"touch /run/go; rm -f /etc/systemd/system/{AGENT}.d/here.conf; systemctl daemon-reload")
    host.run("systemctl", "reset-failed", AGENT)  # also the starts that count against the limit
    host.run("systemctl", "start", AGENT)
    host.wait_for_status("waiting for tasks")  # what a test before left is done
    host.run("rm", "/run/go")
    yield
    host.run("systemctl", "stop", AGENT)


def begun(host: Host, *command: str) -> str:
    """Submit a task, and return its id once it runs."""
    task = host.submit(*command)
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    return task


def ends(host: Host, task: str, code: str = "Success") -> dict[str, Any]:
    """Return the last run of a task once it has ended that way."""
    host.wait(lambda: host.last_run(task).get("resultCode") == code, f"a run that ends as {code}")
    return host.last_run(task)


def next_life(host: Host, pid: str) -> str:
    """Return the pid of the agent that follows another."""
    host.wait(
        lambda: host.show("ActiveState") == "active" and host.show("MainPID") not in ("0", pid),
        "the next life",
    )
    return host.show("MainPID")


def restart_with(host: Host, settings: str) -> None:
    """Have other lines of `[Service]` from now on."""
    host.drop_in(AGENT, "here", f"[Service]\n{settings}\n")
    host.run("systemctl", "restart", AGENT)
    host.wait_for_status("waiting for tasks")


@pytest.mark.parametrize("signal", ["SEGV", "KILL"])
def test_an_agent_that_dies_is_started_again_and_its_run_is_done(host: Host, signal: str) -> None:
    """By the unit, five seconds later; the run is given back by the next life, and done once."""
    task = begun(host, "waits")
    pid = host.show("MainPID")
    host.run("systemctl", "kill", f"--signal={signal}", "--kill-who=main", AGENT)
    next_life(host, pid)
    assert host.show("NRestarts") == "1"
    host.run("touch", "/run/go")
    ends(host, task)
    runs = host.millhand("runs", "--task", task)["runs"]
    assert [run["resultCode"] for run in runs].count("Success") == 1
    assert all(run["stoppedAt"] for run in runs)


def test_an_agent_that_dies_again_and_again_stays_failed_until_a_person_resets_it(host: Host) -> None:
    """Five starts in ten minutes, as shipped; the run waits, and is done after what the runbook says."""
    task = begun(host, "waits")
    for _ in range(4):
        pid = host.show("MainPID")
        host.run("kill", "-KILL", pid)
        next_life(host, pid)
    host.run("kill", "-KILL", host.show("MainPID"))
    host.wait(lambda: host.show("ActiveState") == "failed", "the end of its starts")
    status = host.run("systemctl", "status", AGENT, code=3)
    assert "Start request repeated too quickly" in status
    assert "signal" in host.show("Result"), host.show("Result")
    assert host.sh("pgrep -u millhand -c", code=None).strip() == "0"
    host.run("systemctl", "start", AGENT, code=1)  # not before somebody has looked
    host.run("touch", "/run/go")
    for command in commands_of("MillhandAgentRestarts"):
        host.sh(command, code=3 if " status " in command else 0)
    host.wait(lambda: host.show("ActiveState") == "active", "its start")
    ends(host, task)


def commands_of(section: str) -> list[str]:
    """Return what a section of the runbook has operators type for systemd."""
    text = RUNBOOK.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    commands = re.findall(r"`(systemctl [^`]*)`", text)
    assert commands, f"the section {section} names no command"
    return commands


@pytest.mark.parametrize("pause_s", ["0.002", "0"])
def test_a_run_that_fills_the_services_memory_ends_alone(host: Host, pause_s: str) -> None:
    """Slowly, the guard ends it and names MemoryMax; fast, the kernel may be first. The agent lives on."""
    restart_with(host, "MemoryMax=512M")
    before = host.show("MainPID")
    task = host.submit("eat", "-p", f"pause_s={pause_s}", "--wait")
    run = host.last_run(task)
    assert run["results"]["error"]["kind"] == "out_of_memory", run
    if pause_s != "0":
        assert "(512 MiB) was nearly used up" in run["error"]
    assert host.last_run(host.submit("noop", "--wait"))["resultCode"] == "Success"
    assert (host.show("MainPID"), host.show("NRestarts")) == (before, "0")


def test_a_limit_that_is_changed_while_it_works_counts_at_once(host: Host) -> None:
    """`systemctl set-property` restarts nothing; facts and guard follow the service's limit."""
    restart_with(host, "MemoryMax=1G")
    before = host.show("MainPID")
    host.run("systemctl", "set-property", "--runtime", AGENT, "MemoryMax=400M")
    run = host.last_run(host.submit("eat", "-p", "pause_s=0.002", "--wait"))
    assert "(400 MiB) was nearly used up" in run["error"], run
    assert host.show("MainPID") == before


def test_a_drain_is_given_the_time_that_it_says_it_needs(host: Host) -> None:
    """Longer than TimeoutStopSec: systemd waits while runs may go on, and nothing is killed."""
    restart_with(host, "TimeoutStopSec=3s\nTimeoutAbortSec=3s\nEnvironment=MILLHAND_DRAIN_TIMEOUT=90")
    task = begun(host, "finishes")
    began_mono = time.monotonic()
    host.run("systemctl", "stop", "--no-block", AGENT)
    host.wait_for_status("draining")
    host.run("sleep", "6")  # twice TimeoutStopSec
    assert (host.show("ActiveState"), host.show("Result")) == ("deactivating", "success")
    host.run("touch", "/run/go")
    host.wait(lambda: host.show("ActiveState") == "inactive", "the end of the drain")
    assert host.show("Result") == "success"
    assert time.monotonic() - began_mono > 6
    assert ends(host, task)["results"]["saved"] is True


def test_a_drain_that_is_over_is_given_no_more(host: Host) -> None:
    """What was promised ends: who does not end by then is killed, though systemd waited for it."""
    restart_with(host, "TimeoutStopSec=3s\nTimeoutAbortSec=1s\nEnvironment=MILLHAND_DRAIN_TIMEOUT=5")
    task = begun(host, "waits")
    pid = host.show("MainPID")
    host.run("systemctl", "stop", "--no-block", AGENT)
    host.wait_for_status("draining")
    host.run("kill", "-STOP", pid)
    host.wait(lambda: host.show("ActiveState") == "failed", "the end of its patience")
    assert host.show("Result") == "timeout"
    host.run("touch", "/run/go")
    host.run("systemctl", "start", AGENT)
    ends(host, task)


@pytest.mark.parametrize(("part", "loop"), [("poll", "tasks"), ("update_run", "reports of ")])
def test_an_agent_of_which_a_part_is_stuck_is_replaced(host: Host, part: str, loop: str) -> None:
    """Its event loop goes on, and says so; the watchdog ends it all the same, and its run is done."""
    host.sh(f"printf %s {shlex.quote(STUCK)} >/etc/millhand/stuck.py")
    settings = "WatchdogSec=10s\nEnvironment=MILLHAND_REQUEST_TIMEOUT=3 MILLHAND_LONG_POLL=1"
    restart_with(host, f"{settings}\nExecStart=\nExecStart={PLANTED}")
    task = begun(host, "waits") if part == "update_run" else None
    pid = host.show("MainPID")
    assert host.sh(HEALTH).split() == ["ok", "200"]
    host.run("touch", f"/run/stuck-{part}")
    host.wait(lambda: host.sh(HEALTH).startswith(f"stuck: {loop}"), "the probe's answer")
    assert host.show("MainPID") == pid
    host.wait(lambda: host.show("NRestarts") == "1", "the watchdog's restart")
    host.run("rm", f"/run/stuck-{part}")
    next_life(host, pid)
    log = host.run("journalctl", "--unit", AGENT, "--no-pager")
    assert "Watchdog timeout" in log
    assert "agent.stuck" in log
    host.run("touch", "/run/go")
    if task is not None:
        ends(host, task)
    assert host.last_run(host.submit("noop", "--wait"))["resultCode"] == "Success"
