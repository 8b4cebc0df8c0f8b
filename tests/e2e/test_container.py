"""The image as it is shipped, built and run as deploy/README.md says: `make e2e-container`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.ports import free_port
from tests.real.engine import engine, missing

HERE: Final = Path(__file__).resolve().parent
HOME: Final = HERE.parents[1]
BASE: Final = "local/python:bookworm"
IMAGE: Final = "millhand:e2e"
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
LIMIT_S: Final = 180.0
BUILD_S: Final = 900.0  # of a build, or any other call of docker
BUILT_FROM: Final = (
    "LICENSE", "README.md", "handlers", "millhand_pytest", "pyproject.toml", "requirements", "server",
    "worker",
)  # fmt: skip
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


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    """Build the image; start a server and an agent of it."""
    with engine("with_docker.sh", "DOCKER_HOST") as host, TemporaryDirectory(dir="/var/tmp") as folder:
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


def test_server_and_agent_of_one_image_do_a_task(yard: Yard) -> None:
    """Read-only, without capabilities, as a user without rights."""
    (run,) = yard.submit("who")
    assert run["resultCode"] == "Success", run
    assert {name: run["results"][name] for name in ("uid", "root", "etc")} == {
        "uid": 10001,
        "root": False,
        "etc": False,
    }


def test_a_run_tells_the_limits_of_its_container(yard: Yard) -> None:
    """Not those of the machine; a limit of one and a half cores is not rounded."""
    (run,) = yard.submit("noop")
    assert (run["limitCPUs"], run["limitRAM"]) == (1.5, 512 << 20)


def test_what_eats_the_memory_ends_alone(yard: Yard) -> None:
    """The agent lives on, and does the next task."""
    (eaten,) = yard.submit("eat")
    assert eaten["results"]["error"]["kind"] == "out_of_memory", eaten["error"]
    assert [run["resultCode"] for run in yard.submit("noop")] == ["Success"]
    assert yard.docker("inspect", "--format={{.State.Status}} {{.RestartCount}}", "agent") == "running 0"


def test_orphans_leave_nothing(yard: Yard) -> None:
    """The init reaps what nobody else does."""
    for _ in range(5):
        yard.docker("exec", "agent", "sh", "-c", "(sh -c true &) &")
        assert [run["resultCode"] for run in yard.submit("orphan")] == ["Success"]
    script = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -c ^Z"
    yard.wait(lambda: yard.docker("exec", "agent", "sh", "-c", script, code=None) == "0", "no zombie")


def test_the_token_is_a_file_that_may_change(yard: Yard) -> None:
    """The agent reads it again and is not restarted; its environment holds none."""
    assert (yard.folder / "token").read_text() not in yard.docker("exec", "agent", "env")
    made = yard.millhand("token", "create", "--scope", "work", "--name", "second")
    (yard.folder / "agent-token").write_text(str(made["token"]))

    def is_used() -> bool:
        known = {one["name"]: one for one in yard.millhand("token", "list")["tokens"]}
        return known["second"]["lastUsedAt"] is not None

    yard.wait(is_used, "the use of the new token")
    assert [run["resultCode"] for run in yard.submit("noop")] == ["Success"]
    assert yard.docker("inspect", "--format={{.RestartCount}}", "agent") == "0"


@pytest.mark.parametrize("name", ["agent", "server"])
def test_its_health_is_told(yard: Yard, name: str) -> None:
    """Healthy; unhealthy with the reason while its loop stands still; then healthy again. No shell is run."""
    check = json.loads(yard.docker("inspect", "--format={{json .Config.Healthcheck.Test}}", IMAGE))
    assert check == ["CMD", "millhand", "health"]

    def health() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(yard.docker("inspect", "--format={{json .State.Health}}", name))
        return told

    def stands(status: str) -> bool:
        return bool(health()["Status"] == status)

    yard.wait(lambda: stands("healthy"), "a healthy container")
    yard.signal(name, "STOP")
    try:
        yard.wait(lambda: stands("unhealthy"), "an unhealthy container")
        assert any("unhealthy: the " in look["Output"] for look in health()["Log"])
    finally:
        yard.signal(name, "CONT")
    yard.wait(lambda: stands("healthy"), "a container that is healthy again")


def test_a_stop_drains(yard: Yard) -> None:
    """SIGTERM within the stop time-out: exit code 0, the run given back; the next start finishes it."""
    task = yard.begin("waits")
    yard.docker("stop", "agent")
    assert yard.docker("inspect", "--format={{.State.ExitCode}}", "agent") == "0"
    stopped = [run for run in yard.runs(task) if run["stoppedAt"]]
    assert [run["error"].partition(":")[0] for run in stopped] == ["drained"]
    yard.docker("start", "agent")
    yard.finish(task)


def test_a_killed_container_loses_nothing(yard: Yard) -> None:
    """Started again with the same volume it closes the run that it had, and does the task."""
    task = yard.begin("waits")
    yard.docker("kill", "agent")
    yard.docker("start", "agent")
    yard.finish(task)
    assert "worker_lost" in {(run["error"] or "").partition(":")[0] for run in yard.runs(task)}


def test_the_image_says_what_it_is(yard: Yard) -> None:
    """Its labels, its user, and no shell between the engine and the program."""
    config = json.loads(yard.docker("inspect", "--format={{json .Config}}", IMAGE))
    version = yard.docker("run", "--rm", "--network=none", IMAGE, "--version")
    assert config["Labels"]["org.opencontainers.image.version"] in version
    assert config["Labels"]["org.opencontainers.image.revision"] == "abc"
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"][0] == "dumb-init"


def test_the_same_sources_make_the_same_layers(yard: Yard, tmp_path: Path) -> None:
    """In another folder, at another time, with nothing kept of the first build."""
    for name in ("Dockerfile", ".dockerignore", *BUILT_FROM):
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, tmp_path / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(HOME / name, tmp_path / name)
    first = json.loads(yard.docker("inspect", "--format={{json .RootFS.Layers}}", IMAGE))
    base = json.loads(yard.docker("inspect", "--format={{json .RootFS.Layers}}", BASE))
    assert first[: len(base)] == base
    assert len(first) > len(base)
    assert yard.build("millhand:again", "--no-cache", home=tmp_path) == first
