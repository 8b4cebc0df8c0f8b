"""deploy/compose.yaml, by the lines of deploy/README.md: `make e2e-container`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.e2e.yard import BUILD_S, HERE, HOME, IMAGE, Yard
from tests.integration.ports import free_port
from tests.real.engine import missing

LINES: Final = re.compile(r"^openssl rand .*\n(?:docker compose .*\n)+", re.MULTILINE)
# Debian's Compose is a program of its own, which calls docker in its turn; who is root needs no sudo.
SHIMS: Final = {
    "docker": '[ "$1" = compose ] || exec /usr/bin/docker "$@"; shift; exec docker-compose "$@"',
    "sudo": 'exec "$@"',
}


class Composed:
    """The two services, in a checkout of their own."""

    def __init__(self, yard: Yard, folder: Path) -> None:
        """Nothing is started yet."""
        self.yard = yard
        self.port = free_port()
        self.home = folder
        (folder / "deploy").mkdir()
        shutil.copyfile(HOME / "deploy" / "compose.yaml", folder / "deploy" / "compose.yaml")
        (folder / "bin").mkdir()
        for name, script in SHIMS.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / "bin" / name).chmod(0o755)

    def type(self, line: str) -> str:
        """Type one line into a shell; return what it prints."""
        settings = {
            "DOCKER_HOST": self.yard.host, "MILLHAND_IMAGE": IMAGE, "MILLHAND_PORT": str(self.port),
            "COMPOSE_PROJECT_NAME": "e2e", "PATH": f"{self.home / 'bin'}:/usr/bin:{os.environ['PATH']}",
        }  # fmt: skip
        done = subprocess.run(
            ["sh", "-c", line], env={**os.environ, **settings}, cwd=self.home, capture_output=True,
            text=True, check=False, timeout=BUILD_S,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr[-3000:])
        return done.stdout

    def compose(self, *words: str) -> str:
        """Give one more order to Compose."""
        return self.type(" ".join(("docker compose -f deploy/compose.yaml", *words)))

    def state(self, service: str, what: str) -> str:
        """Return something of a service's container."""
        (container,) = self.compose("ps", "--quiet", service).split()
        return self.yard.docker("inspect", f"--format={{{{{what}}}}}", container)


@pytest.fixture
def composed(yard: Yard, tmp_path: Path) -> Iterator[Composed]:
    """Give the file, with a Compose; nothing of it is left at the end, nor its network."""
    tool = subprocess.run([HERE / "compose_tool.sh"], capture_output=True, text=True, check=False)
    if tool.returncode != 0:
        missing(f"there is no docker-compose: {tool.stderr[-2000:]}")
    it = Composed(yard, tmp_path)
    try:
        yield it
    finally:
        it.compose("down", "--volumes")


def test_the_lines_of_the_page_start_both_and_do_a_task(composed: Composed) -> None:
    """The agent comes after a healthy server; the token is in no environment; a stop drains."""
    (lines,) = LINES.findall((HOME / "deploy" / "README.md").read_text())
    secret, up, submit = lines.splitlines()
    composed.type(secret)
    composed.compose("config", "--quiet")
    composed.type(up)
    assert composed.state("server", ".State.Health.Status") == "healthy"
    assert httpx.get(f"http://127.0.0.1:{composed.port}/healthz").status_code == 200
    assert json.loads(composed.type(submit).splitlines()[-1])["tasks"][0]["run"]["resultCode"] == "Success"
    token = (composed.home / "deploy" / "token").read_text().strip()
    for service in ("server", "agent"):
        assert token not in composed.state(service, "json .Config")
        assert composed.state(service, "json .HostConfig.CapDrop") == '["ALL"]'
        assert composed.state(service, ".HostConfig.ReadonlyRootfs") == "true"
    composed.compose("stop")
    assert {composed.state(one, ".State.ExitCode") for one in ("server", "agent")} == {"0"}
