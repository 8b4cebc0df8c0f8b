"""A real service of a real systemd, with MemoryMax: what eats the memory ends alone, the service goes on."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.engine import (
    HERE,
    LIMIT_S,
    MILLHAND,
    NEEDED_FOLDERS,
    engine,
    submitted,
    wait_for_server,
)

UNIT = f"""
[Service]
Type=exec
Delegate=yes
MemoryMax=256M
OOMPolicy=continue
TasksMax=300
Environment=LANG=C.UTF-8 XDG_STATE_HOME=/var/lib
ExecStart={MILLHAND[0]} up --handlers {HERE}/eat.py --concurrency 1
KillMode=mixed
Restart=on-failure
"""
FACTS_UNIT = f"""
[Service]
Type=oneshot
CPUQuota=75%
MemoryMax=512M
StandardOutput=file:/run/facts.json
ExecStart={MILLHAND[0]} facts --json
"""
STATE = ("ActiveState", "NRestarts", "MainPID")


class Service:
    """The service, and the machine that it is on."""

    def __init__(self, inside: list[str]) -> None:
        self.inside = inside
        self.into = [*inside, "env", "LANG=C.UTF-8", "XDG_STATE_HOME=/var/lib"]

    def run(self, *command: str) -> str:
        """Run a command on the machine; return what it prints."""
        done = subprocess.run(
            [*self.inside, *command], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, (command, done.stderr[-2000:])
        return done.stdout

    def state(self) -> dict[str, str]:
        """Return what systemd says of the service."""
        lines = self.run("systemctl", "show", "millhand", *(f"--property={name}" for name in STATE))
        return dict(line.split("=", 1) for line in lines.splitlines())

    def groups(self) -> list[str]:
        """Return the folders of the agent's groups."""
        found = self.run("find", "/sys/fs/cgroup", "-type", "d", "-name", "millhand-runs-*")
        return found.split()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Boot, and start the service."""
    files = tmp_path_factory.mktemp("root")
    units = files / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "millhand.service").write_text(UNIT)
    (units / "facts.service").write_text(FACTS_UNIT)
    with engine("with_systemd.sh", "IN", {"FILES": str(files), "BIND": " ".join(NEEDED_FOLDERS)}) as inside:
        it = Service(shlex.split(inside))
        it.run("systemctl", "start", "millhand")
        wait_for_server(it.into)
        yield it


def test_a_run_that_fills_the_service_ends_alone(service: Service) -> None:
    """Slowly or fast: it is out_of_memory, the next task is fine, and systemd restarted nothing."""
    before = service.state()
    runs = submitted(service.into, "eat", "-p", "pause_s=0.002", "-p", "pause_s=0")
    assert [run["results"]["error"]["kind"] for run in runs] == ["out_of_memory"] * 2
    assert [run["resultCode"] for run in submitted(service.into, "fine")] == ["Success"]
    after = service.state()
    assert after == before
    assert (after["ActiveState"], after["NRestarts"]) == ("active", "0")


def test_a_run_has_a_limit_of_its_own_in_the_service(service: Service) -> None:
    """The task's limit is far below the service's; the error names it."""
    (run,) = submitted(service.into, "eat", "-p", "pause_s=0.002", "--memory", "64MiB")
    assert run["results"]["error"]["kind"] == "out_of_memory", run["error"]
    assert "64 MiB" in run["error"]


def test_a_run_is_billed_by_its_own_group(service: Service) -> None:
    """What systemd delegated counts CPU and memory of each run."""
    (run,) = submitted(service.into, "fine")
    methods = run["results"]["usage"]["methods"]
    assert methods["cpu_user_s"] == "cgroup", methods
    assert methods["ram_average_bytes"] == "cgroup_sampled", methods


def test_groups_of_runs_are_below_the_services_own(service: Service) -> None:
    """What systemd delegated is used, and nothing beside it."""
    groups = service.groups()
    assert {Path(folder).parent.name for folder in groups} == {"millhand.service"}
    assert {"memory", "pids"} <= {part for folder in groups for part in Path(folder).parts}


def test_a_service_tells_its_own_limits(service: Service) -> None:
    """CPUQuota and MemoryMax of its unit, with where they stand."""
    service.run("systemctl", "start", "facts")
    facts = json.loads(service.run("cat", "/run/facts.json"))
    assert facts["limitCPUs"]["value"] == 0.75, facts
    assert facts["limitRAM"]["value"] == 512 << 20, facts
    assert "memory" in facts["limitRAM"]["source"], facts


def test_a_killed_agent_leaves_no_groups_to_the_next(service: Service) -> None:
    """SIGKILL of everything in the service: systemd starts it anew, and only new groups are there."""
    before = service.groups()
    service.run("systemctl", "kill", "--signal=KILL", "--kill-who=all", "millhand")
    service.run("systemctl", "restart", "millhand")
    wait_for_server(service.into)
    assert [run["resultCode"] for run in submitted(service.into, "fine")] == ["Success"]
    assert set(service.groups()).isdisjoint(before)
