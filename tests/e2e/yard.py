"""A docker of its own with the shipped image, and containers of it as deploy/README.md starts them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

from tests.integration.ports import free_port
from tests.real.engine import engine, missing

__all__ = ["BASE", "BUILD_S", "HARDENED", "HERE", "HOME", "IMAGE", "Yard", "open_yard"]

HERE: Final = Path(__file__).resolve().parent
HOME: Final = HERE.parents[1]
BASE: Final = "local/python:bookworm"
IMAGE: Final = "millhand:e2e"
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
LIMIT_S: Final = 180.0
BUILD_S: Final = 900.0  # of a build, or any other call of docker
HARDENED: Final = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
HANDLERS: Final = '''
import os, subprocess, sys, time
from pathlib import Path
from worker import Context, handler

@handler("eat")
def eat(ctx: Context) -> None:
    """Take memory until somebody objects."""
    held = []
    while True:
        held.append(b"x" * (1 << 20))

@handler("orphan")
def orphan(ctx: Context) -> None:
    """Leave a process that has lost its parent, and has ended."""
    subprocess.run(["sh", "-c", "(sh -c true &) &"], check=True)

@handler("waits")
def waits(ctx: Context) -> dict:
    """Wait until a file is there."""
    while not Path("/handlers/go").exists():
        ctx.check()
        time.sleep(0.05)
    return {"has_gone": True}

@handler("who")
def who(ctx: Context) -> dict:
    """Say who one is, and what can be written."""
    return {"uid": os.getuid(), "root": os.access("/", os.W_OK), "etc": os.access("/etc", os.W_OK)}
'''


class Yard:
    """A dockerd with the image, a token, handlers, and a port for the server."""

    def __init__(self, host: str, folder: Path) -> None:
        """`folder` is mounted as /handlers."""
        self.host = host
        self._docker = ["/usr/bin/docker", "--host", host]
        self.folder = folder
        self.port = free_port()
        (folder / "own.py").write_text(HANDLERS)
        token = uuid4().hex
        for name in ("token", "agent-token"):
            (folder / name).write_text(token)
        folder.chmod(0o755)

    def docker(self, *arguments: str, code: int | None = 0) -> str:
        """Run docker; return what it prints."""
        done = subprocess.run(
            [*self._docker, *arguments], capture_output=True, text=True, check=False, timeout=BUILD_S,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )  # fmt: skip
        assert code is None or done.returncode == code, (arguments, done.stdout, done.stderr[-3000:])
        return done.stdout.strip()

    def build(self, tag: str, *options: str, home: Path = HOME) -> list[str]:
        """Build the shipped Dockerfile, unchanged; return the digests of the image's layers."""
        given = (
            "--build-arg=BASE_IMAGE=" + BASE,
            "--build-arg=REVISION=abc",
            f"--secret=id=ca,src={AUTHORITIES}",
        )
        self.docker("build", "--network=host", *given, *options, f"--tag={tag}", str(home))
        layers: list[str] = json.loads(self.docker("inspect", "--format={{json .RootFS.Layers}}", tag))
        return layers

    def environment(self, image: str) -> set[str]:
        """Return the variables that an image sets."""
        return set(json.loads(self.docker("inspect", "--format={{json .Config.Env}}", image)))

    def start(self, name: str, *command: str, options: Sequence[str] = ()) -> None:
        """Start a container as README says; it is on this machine's loopback, and nobody else's."""
        settings = {
            "MILLHAND_SERVER_PORT": str(self.port),
            "MILLHAND_SERVER_TOKEN_FILE": "/handlers/token",
            "MILLHAND_API_URL": f"http://127.0.0.1:{self.port}",
            "MILLHAND_TOKEN_FILE": f"/handlers/{'token' if name == 'server' else 'agent-token'}",
            "MILLHAND_HANDLERS": "/handlers/own.py",
            "MILLHAND_CLOUD": "none",
            "MILLHAND_POLL_MAX": "1",
            "MILLHAND_SERVER_LEASE": "15",
        }
        env = [f"--env={key}={value}" for key, value in settings.items()]
        mounts = (f"--volume={self.folder}:/handlers:ro", f"--volume=state-{name}:/var/lib/millhand")
        run = ("run", "--detach", f"--name={name}", "--network=host", "--stop-timeout=40", *HARDENED)
        health = ("--health-interval=1s", "--health-retries=1")  # the rest of the check is the image's own
        self.docker(*run, *health, *env, *mounts, *options, IMAGE, *command)

    def millhand(self, *command: str) -> Any:
        """Run the command line in the server's container; return its JSON."""
        said = self.docker("exec", "server", "millhand", *command, "--json", code=None)
        return json.loads(said.splitlines()[-1])

    def submit(self, *command: str) -> list[dict[str, Any]]:
        """Submit tasks, wait for them, and return the last run of each."""
        return [each["run"] for each in self.millhand("submit", *command, "--wait")["tasks"]]

    def begin(self, type_: str) -> str:
        """Submit a task, and return its id once it has begun."""
        job = self.millhand("submit", type_)["job"]["id"]
        (task,) = self.millhand("tasks", "--job", job)["tasks"]
        self.wait(lambda: any(run["startedAt"] for run in self.runs(task["id"])), "the start of the run")
        return str(task["id"])

    def runs(self, task: str) -> list[dict[str, Any]]:
        """Return the runs of a task."""
        return list(self.millhand("runs", "--task", task)["runs"])

    def signal(self, name: str, which: str) -> None:
        """Signal the service of a container, below its init."""
        script = f"kill -{which} $(cat /proc/1/task/1/children)"
        self.docker("exec", name, "sh", "-c", script)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what a condition gives once it gives something."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(0.2)
        raise AssertionError(f"still not: {what}: {self.docker('logs', '--tail=20', 'agent', code=None)}")

    def finish(self, task: str) -> None:
        """Let what waits go on, and see its one success."""
        (self.folder / "go").touch()
        self.wait(lambda: any(run["resultCode"] == "Success" for run in self.runs(task)), "the result")
        (self.folder / "go").unlink()
        assert [run["resultCode"] for run in self.runs(task)].count("Success") == 1


@contextmanager
def open_yard() -> Iterator[Yard]:
    """Start a docker, build the image, start a server and an agent of it; nothing of it is left then."""
    with (
        engine("with_docker.sh", "DOCKER_HOST", end_s=BUILD_S) as host,
        TemporaryDirectory(dir="/var/tmp") as folder,
    ):
        it = Yard(host, Path(folder))
        made = subprocess.run(
            [HERE / "base_image.sh", BASE], env={**os.environ, "DOCKER_HOST": host}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            missing(f"there is no base for the image: {made.stderr[-2000:]}")
        it.build(IMAGE)
        try:
            it.start("server", "serve")
            it.start("agent", "agent", options=("--memory=512m", "--memory-swap=512m", "--cpus=1.5"))
            it.wait(lambda: "jobs" in it.millhand("jobs"), "the server")
            yield it
        finally:
            it.docker("rm", "--force", "server", "agent", code=None)
