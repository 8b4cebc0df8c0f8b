"""A real container with little memory: the run that eats it ends alone, whoever stops it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.real.engine import (
    EATER,
    HERE,
    MILLHAND,
    NEEDED_FOLDERS,
    answer_of,
    engine,
    submitted,
    wait_for_server,
)

IMAGE = "millhand/host"
# A container may write its control groups where whoever runs it lets it mount.
WRITABLE_GROUPS = ("--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined")
REMOUNT = (
    'for name in memory pids cpuacct; do mount -o remount,bind,rw "/sys/fs/cgroup/$name" || exit 9; done; '
    'exec "$@"'
)


@pytest.fixture(scope="module")
def docker() -> Iterator[list[str]]:
    """Start an engine; give the command that runs a container of 256 MiB in it."""
    with engine("with_docker.sh", "DOCKER_HOST") as host:
        mounts = [f"--volume={folder}:{folder}:ro" for folder in ("/usr", *NEEDED_FOLDERS)]
        yield [
            *("/usr/bin/docker", "--host", host, "run", "--rm", "--network=none", "--env=LANG=C.UTF-8"),
            *("--memory=256m", "--memory-swap=256m", "--pids-limit=200", *mounts),
        ]


def inside(docker: list[str], *options: str, shell: str = 'exec "$@"') -> list[str]:
    """Return what runs a command in a container."""
    return [*docker, *options, IMAGE, "/bin/sh", "-c", shell, "sh"]


def test_the_guard_ends_a_run_before_the_container_is_full(docker: list[str]) -> None:
    """No group may be written, as in an ordinary container: the run is out_of_memory, and it is said why."""
    answer = answer_of(inside(docker), "run", EATER, "-p", "pause_s=0.002")
    error = answer["error"]
    assert error["kind"] == "out_of_memory"
    assert "the container's memory (256 MiB) was nearly used up" in error["message"]
    methods = answer["usage"]["methods"]
    assert methods["cpu_user_s"] == "wait4", methods  # there is only the tree to count
    assert methods["ram_average_bytes"] == "tree_rss_sampled", methods
    assert answer["usage"]["ramPeakBytes"] > 100 << 20


def test_what_the_kernel_kills_for_want_of_memory_is_told_as_such(docker: list[str]) -> None:
    """Memory goes faster than anybody looks: the kernel's own count is the evidence, 137 alone is none."""
    answer = answer_of(inside(docker), "run", EATER)
    assert answer["error"]["kind"] == "out_of_memory"
    assert answer["error"]["signal"] == "SIGKILL"


def test_a_run_has_its_own_limit_where_groups_may_be_written(docker: list[str]) -> None:
    """The limit of the run holds, far below the container's."""
    command = inside(docker, *WRITABLE_GROUPS, shell=REMOUNT)
    answer = answer_of(command, "run", EATER, "--memory", "64MiB")
    assert answer["error"]["kind"] == "out_of_memory"
    assert answer["error"]["signal"] == "SIGKILL"
    assert answer["usage"]["ramPeakBytes"] < 200 << 20
    assert answer["usage"]["methods"]["cpu_user_s"] == "cgroup", answer["usage"]
    assert answer["usage"]["methods"]["ram_average_bytes"] == "cgroup_sampled", answer["usage"]


def test_a_container_tells_its_own_limits(docker: list[str]) -> None:
    """One core and 512 MiB, whatever the machine has; a limit of one and a half cores is not rounded."""
    for cpus in (1.0, 1.5):
        facts = answer_of(inside(docker, f"--cpus={cpus}", "--memory=512m", "--memory-swap=512m"), "facts")
        assert facts["limitCPUs"]["value"] == cpus, facts
        assert facts["limitRAM"]["value"] == 512 << 20, facts
        assert "cpu" in facts["limitCPUs"]["source"], facts
        assert "memory" in facts["limitRAM"]["source"], facts
        assert facts["nodeCPUs"]["value"] == os.cpu_count()


@pytest.fixture
def agent(docker: list[str]) -> Iterator[str]:
    """Start server and agent in a container; give its name."""
    name = "agent"
    command = [*MILLHAND, "up", "--handlers", str(HERE / "eat.py"), "--concurrency", "1"]
    subprocess.run([*docker, "--detach", f"--name={name}", IMAGE, *command], check=True, capture_output=True)
    yield name
    subprocess.run([*docker[:3], "kill", name], check=False, capture_output=True)


def test_the_agent_lives_on_and_serves_the_next_task(docker: list[str], agent: str) -> None:
    """Two tasks eat, slowly and fast; the next is fine, and nobody was restarted."""
    into = [*docker[:3], "exec", agent]
    wait_for_server(into)
    runs = submitted(into, "eat", "-p", "pause_s=0.002", "-p", "pause_s=0")
    assert [run["results"]["error"]["kind"] for run in runs] == ["out_of_memory"] * 2
    assert [run["resultCode"] for run in submitted(into, "fine")] == ["Success"]
    state = [*docker[:3], "inspect", "--format={{.State.Status}} {{.RestartCount}}", agent]
    assert subprocess.run(state, capture_output=True, text=True, check=True).stdout == "running 0\n"
