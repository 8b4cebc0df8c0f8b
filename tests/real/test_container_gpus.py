"""The `container` handler with GPUs: each container has those of its run, by a real docker and a real podman.

The agent sees GPUs by the stand-in for NVML's library. What gives them to containers is podman itself by a
CDI file, and docker itself by the hook that it calls; file and hook are ours, in the form of NVIDIA's, and
put a device node for each GPU into the container.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.ports import free_port
from tests.nvml import FakeNvml, gpu
from tests.real.engine import LIMIT_S, MILLHAND, engine
from tests.real.gpus import cdi_file, docker_hook
from tests.real.test_engines import SCRIPTS, Engine, until

UUIDS: Final = tuple(sorted(f"GPU-{uuid4()}" for _ in range(2)))  # another test's are on this machine, too
# What the agent gave the run, and each node that the engine put there and can be opened; then it waits.
TELL: Final = (
    'echo "$NVIDIA_VISIBLE_DEVICES" >/tmp/telling; for one in /dev/nvidia*; do [ -e $one ] || continue; '
    "echo x >$one && echo ${one#/dev/nvidia-} >>/tmp/telling; done; ln /tmp/telling /tmp/told; "
    "until [ -e /tmp/go ]; do sleep 0.1; done"
)
INSTALL: Final = {"docker": "install nvidia-container-toolkit", "podman": "nvidia-ctk cdi generate"}


class Agent:
    """Server and agent as a user starts them, with two GPUs and one engine."""

    def __init__(self, real: Engine, folder: Path, fake: FakeNvml) -> None:
        """Start them."""
        self.real = real
        port = free_port()
        self.environment = {
            **real.environment, **fake.environment, "HOME": str(folder), "XDG_STATE_HOME": str(folder),
            "MILLHAND_API_URL": f"http://127.0.0.1:{port}",
            "MILLHAND_TOKEN_FILE": str(folder / "millhand/up/token"),
        }  # fmt: skip
        with (folder / "up.log").open("wb") as log:
            command = [*MILLHAND, "up", "--port", str(port), "--concurrency", "2"]
            own = {name: self.environment[name] for name in self.environment if name not in TOLD}
            self.process = subprocess.Popen(command, env=own, stdout=log, stderr=log, start_new_session=True)

    def close(self) -> None:
        """End them."""
        self.process.terminate()
        self.process.wait(timeout=LIMIT_S)

    def start(self, gpus: int) -> subprocess.Popen[str]:
        """Submit a container that wants so many GPUs, and follow it."""
        given = {"image": self.real.image, "cmd": ["sh", "-c", TELL]}
        told = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
        options = ("--requires", f"gpus={gpus}", "--wait", "--json")
        return subprocess.Popen(
            [*MILLHAND, "submit", "container", *told, *options],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, *arguments: str) -> int:
        """Ask the server."""
        done = subprocess.run(
            [*MILLHAND, *arguments], env=self.environment, capture_output=True, check=False, timeout=LIMIT_S
        )
        return done.returncode


TOLD: Final = ("MILLHAND_API_URL", "MILLHAND_TOKEN_FILE")


@pytest.fixture(params=SCRIPTS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name an engine."""
    return str(request.param)


@pytest.fixture
def gives_gpus() -> bool:
    """Say whether the engine can give GPUs."""
    return True


@pytest.fixture
def agent(kind: str, gives_gpus: bool, tmp_path: Path) -> Iterator[Agent]:
    """Start engine, server and agent."""
    fake = FakeNvml(tmp_path / "nvml")
    fake.put("".join(gpu(number, f"uuid {uuid}") for number, uuid in enumerate(UUIDS)))
    script, variable = SCRIPTS[kind]
    with ExitStack() as stack:
        path = os.environ["PATH"]
        if gives_gpus and kind == "podman":
            stack.enter_context(cdi_file(UUIDS))
        elif gives_gpus:
            path = f"{docker_hook(tmp_path / 'hook', UUIDS)}:{path}"
        value = stack.enter_context(engine(script, variable, {"PATH": path}))
        made = Agent(Engine(kind, value, tmp_path), tmp_path, fake)
        stack.callback(made.close)
        until(lambda: made.ask("jobs") == 0)
        yield made
        assert made.real.containers() == []


def told(real: Engine, container: str) -> list[str] | None:
    """Return what a container found; None where it is not there yet."""
    found = subprocess.run(
        [f"/usr/bin/{real.name}", "exec", container, "cat", "/tmp/told"],
        env=real.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.split() if found.returncode == 0 else None


def released(real: Engine, count: int) -> list[list[str]]:
    """Return what so many containers found that run at once, and let them end."""
    containers = until(lambda: len(found := real.containers()) == count and found)
    lines = [until(partial(told, real, one)) for one in containers]
    for one in containers:
        real.ask("exec", one, "touch", "/tmp/go")
    return lines


def runs_of(*followed: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Return the runs of what was submitted, at their end."""
    answers = [one.communicate(timeout=LIMIT_S)[0].splitlines()[-1] for one in followed]
    return [task["run"] for answer in answers for task in json.loads(answer)["tasks"]]


def results(runs: Sequence[dict[str, Any]]) -> set[str]:
    """Return how they ended."""
    return {run["resultCode"] for run in runs}


def test_containers_have_the_gpus_of_their_runs_and_no_others(agent: Agent) -> None:
    """Two at once have one each, one alone has both, and one that asked for none has none."""
    pair = [agent.start(1), agent.start(1)]
    assert sorted(released(agent.real, 2)) == [[one, one] for one in UUIDS]
    assert results(runs_of(*pair)) == {"Success"}
    both = agent.start(2)
    assert released(agent.real, 1) == [[",".join(UUIDS), *UUIDS]]
    assert results(runs_of(both)) == {"Success"}
    none = agent.start(0)
    assert released(agent.real, 1) == [["void"]]
    assert results(runs_of(none)) == {"Success"}


@pytest.mark.parametrize("gives_gpus", [False])
def test_an_engine_that_cannot_give_gpus_is_told_with_what_to_install(agent: Agent, kind: str) -> None:
    """A task without GPUs runs there all the same."""
    (run,) = runs_of(agent.start(1))
    message = run["results"]["error"]["message"]
    assert INSTALL[kind] in message, message
    none = agent.start(0)
    assert released(agent.real, 1) == [["void"]]
    assert results(runs_of(none)) == {"Success"}
