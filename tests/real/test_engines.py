"""The `container` handler with a real docker and a real podman: what runs, costs, and is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ports import free_port
from tests.real.engine import LIMIT_S, MILLHAND, engine

IMAGES = {"docker": "millhand/small:1", "podman": "localhost/millhand/small:1"}
SCRIPTS = {"docker": ("with_docker.sh", "DOCKER_HOST"), "podman": ("with_podman.sh", "PODMAN_ROOT")}
BURN = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; times >&2"


class Engine:
    """A real engine, and what millhand is told of it."""

    def __init__(self, name: str, variable: str, folder: Path) -> None:
        """`variable` is what its script tells: a socket, or a folder."""
        self.name = name
        self.image = IMAGES[name]
        where = {"DOCKER_HOST": variable}
        if name == "podman":
            where = {f"CONTAINERS_{one.upper()}": f"{variable}/{one.removesuffix('_conf')}.conf"
                     for one in ("conf", "storage_conf")}  # fmt: skip
            where["CONTAINERS_CONF"] = f"{variable}/containers.conf"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MILLHAND_", "DOCKER_"))
        }
        self.environment = {
            **kept, **where, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_STATE_HOME": str(folder),
            "LANG": "C.UTF-8", "MILLHAND_CONTAINER_ENGINE": name, "MILLHAND_IMAGES": self.image,
            "MILLHAND_CLOUD": "none",
        }  # fmt: skip

    def containers(self) -> list[str]:
        """Return the ids of all containers, ended ones too."""
        return self.ask("ps", "--all", "--quiet", "--no-trunc").split()

    def ask(self, *arguments: str) -> str:
        """Ask the engine itself."""
        done = subprocess.run(
            [f"/usr/bin/{self.name}", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *options: str, command: str = "", **parameters: Any) -> subprocess.Popen[str]:
        """Start `millhand run` of a shell's command in a container."""
        given = {"image": self.image, "cmd": ["sh", "-c", command], **parameters}
        told = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
        return subprocess.Popen(
            [*MILLHAND, "run", "container", *told, *options, "--json"], env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *options: str, command: str = "", **parameters: Any) -> dict[str, Any]:
        """Run it to its end; give what `millhand run` says."""
        return answer_of(self.start(*options, command=command, **parameters))


def answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a `millhand run` said at its end."""
    out, errors = process.communicate(timeout=LIMIT_S)
    assert out.strip(), errors[-4000:]
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


def until(condition: Callable[[], Any]) -> Any:
    """Return what holds as soon as it does."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < give_up_mono, "it did not come about"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module", params=SCRIPTS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Give each engine, with a small image in it."""
    script, variable = SCRIPTS[request.param]
    with engine(script, variable) as value:
        yield Engine(request.param, value, tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def nothing_is_left(real: Engine) -> Iterator[None]:
    """No container is there after a test, whatever happened in it."""
    yield
    assert real.containers() == []


def error_of(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return kind and message of a failure."""
    assert answer["error"] is not None, answer
    return answer["error"]["kind"], answer["error"]["message"]


def test_a_container_reads_inputs_and_leaves_outputs(real: Engine, tmp_path: Path) -> None:
    """As a user without rights; what it may not write it cannot, and its secret is a file."""
    (tmp_path / "in.txt").write_text("given")
    command = (
        "id -u; cat /inputs/in.txt >/outputs/copy.txt; mkdir /outputs/d; touch /outputs/d/x.bin;"
        " cat /run/secrets/key;"
        " touch /x || echo refused; touch /inputs/y || echo refused; ls /sys/class/net; touch /tmp/fine"
    )
    answer = real.run(
        "--out", str(tmp_path / "out"), command=command, input=str(tmp_path / "in.txt"),
        outputs=["*.txt", "d/*"], secrets={"key": "s3cret-s3cret"}, readonly=True,
    )  # fmt: skip
    assert answer["resultCode"] == "Success", answer
    assert answer["value"]["outputs"] == ["copy.txt", "d/x.bin"]
    assert answer["value"]["imageId"].startswith("sha256:")
    assert {file["name"] for file in answer["files"]} >= {"copy.txt", "d/x.bin"}
    assert (tmp_path / "out/copy.txt").read_text() == "given"


def test_what_it_prints_is_shown_and_no_secret(real: Engine) -> None:
    """Ten megabytes of lines too, and both streams."""
    process = real.start(
        command="cat /run/secrets/key; echo; id -u; ls /sys/class/net; seq 1 1500000; echo oops >&2",
        secrets={"key": "s3cret-s3cret"},
    )
    out, errors = process.communicate(timeout=LIMIT_S)
    answer = json.loads(out.splitlines()[-1])
    assert answer["value"]["lines"] == 1_500_004, answer["error"]
    shown = out + errors
    assert "s3cret-s3cret" not in shown
    assert "[redacted]" in shown
    assert "stdout: 65534" in shown
    assert "eth0" not in shown


def test_ends_are_told_as_they_were(real: Engine) -> None:
    """An exit code; no such program; too little memory, on evidence, and a SIGKILL that was none."""
    kind, message = error_of(real.run(command="echo last words; exit 3"))
    assert (kind, message) == ("handler_error", "the container ended with exit code 3:\nlast words")
    assert error_of(real.run(cmd=["no-such-program"]))[0] == "handler_error"
    kind, message = error_of(real.run(command="x=1; while true; do x=$x$x; done", memory="32MiB"))
    assert kind == "out_of_memory", message
    assert "32 MiB" in message
    kind, message = error_of(real.run(command="kill -9 $$"))
    assert kind == "handler_error", message
    assert "as after SIGKILL" in message


def test_an_image_that_is_not_allowed_is_refused(real: Engine) -> None:
    """Before the engine hears of it."""
    kind, message = error_of(real.run(image="127.0.0.1:1/evil", command="true"))
    assert kind == "handler_error"
    assert "127.0.0.1:1/evil:latest is not allowed" in message


def test_a_stop_reaches_the_program(real: Engine) -> None:
    """By a cancel and at a time limit: it hears of it and may end in order."""
    command = "trap 'echo in order; exit 0' TERM; echo started; while true; do sleep 0.1; done"
    for option, kind in (("--cancel-after", "cancelled"), ("--timeout", "timeout")):
        process = real.start(option, "3", command=command)
        out, errors = process.communicate(timeout=LIMIT_S)
        assert error_of(json.loads(out.splitlines()[-1]))[0] == kind
        assert "in order" in out + errors


def test_two_run_at_once_beside_each_other(real: Engine) -> None:
    """The end of one touches nothing of the other."""
    long = real.start(command="echo started; sleep 4; echo done")
    until(real.containers)
    killed = real.start("--kill-after", "1", command="sleep 600")
    assert error_of(answer_of(killed))[0] == "crashed"
    assert answer_of(long)["resultCode"] == "Success"
    assert real.run(command="true")["resultCode"] == "Success"  # and removes what the killed one left


def test_after_sigkill_of_everything_nothing_goes_on(real: Engine) -> None:
    """The minder ends the container at once, and the next run removes what is left of it."""
    process = real.start(command="sleep 600")
    (id_,) = until(real.containers)
    pid = until(lambda: int(real.ask("inspect", "--format={{.State.Pid}}", id_)))
    process.kill()
    process.communicate(timeout=LIMIT_S)
    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: real.run(command="true")["resultCode"] == "Success" and not real.containers())


def test_the_bill_has_what_the_container_used(real: Engine) -> None:
    """CPU as the program counts it itself, within a fifth and the handler's own; the method is told."""
    process = real.start(command=BURN)
    out, errors = process.communicate(timeout=LIMIT_S)
    answer = json.loads(out.splitlines()[-1])
    assert answer["resultCode"] == "Success", answer
    idle = real.run(command="sleep 1")["usage"]
    usage = answer["usage"]
    assert "+container_cgroup_v" in usage["methods"]["cpu_user_s"]
    assert usage["diskWrittenBytes"] is None
    burnt_s = sum(
        60 * float(part.partition("m")[0]) + float(part.partition("m")[2].rstrip("s"))
        for line in (out + errors).splitlines()
        if line.startswith("stderr: ") and "m" in line
        for part in line.removeprefix("stderr: ").split()
    )  # fmt: skip
    billed_s = (
        usage["cpuUserSeconds"]
        + usage["cpuSystemSeconds"]
        - idle["cpuUserSeconds"]
        - idle["cpuSystemSeconds"]
    )
    assert burnt_s > 0.2
    assert 0.7 * burnt_s - 0.2 <= billed_s <= 1.3 * burnt_s + 0.5, (burnt_s, billed_s)


def test_an_agent_that_is_killed_leaves_nothing_after_its_restart(real: Engine, tmp_path: Path) -> None:
    """Server and agent as a user starts them; a task goes on, all is killed, and starts again."""
    environment = {**real.environment, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    port = free_port()
    told = {
        "MILLHAND_API_URL": f"http://127.0.0.1:{port}",
        "MILLHAND_TOKEN_FILE": str(tmp_path / "millhand/up/token"),
    }

    def up() -> subprocess.Popen[bytes]:
        with (tmp_path / "up.log").open("ab") as log:
            return subprocess.Popen(
                [*MILLHAND, "up", "--port", str(port)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def millhand(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MILLHAND, *arguments],
            env={**environment, **told},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def submit(*options: str, command: str) -> subprocess.CompletedProcess[str]:
        given = ("-p", f"image={real.image}", "-p", f"cmd={json.dumps(['sh', '-c', command])}")
        return millhand("submit", "container", *given, *options)

    process = up()
    try:
        until(lambda: millhand("jobs").returncode == 0)
        done = submit("--wait", "--json", "-p", 'outputs=["*.txt"]', command="echo made >/outputs/a.txt")
        (task,) = json.loads(done.stdout.splitlines()[-1])["tasks"]
        assert task["run"]["resultCode"] == "Success", task
        assert "a.txt" in {file["name"] for file in task["run"]["results"]["files"]}
        submit(command="sleep 600")
        (id_,) = until(real.containers)
        pid = until(lambda: int(real.ask("inspect", "--format={{.State.Pid}}", id_)))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not Path(f"/proc/{pid}").exists())
        process = up()
        until(lambda: millhand("jobs").returncode == 0)
        jobs = json.loads(millhand("jobs", "--json").stdout)
        for job in jobs["jobs"] if isinstance(jobs, dict) else jobs:
            millhand("cancel", job["id"])
        assert submit("--wait", command="true").returncode == 0
        until(lambda: id_ not in real.containers())
    finally:
        process.terminate()
        process.wait(timeout=LIMIT_S)
