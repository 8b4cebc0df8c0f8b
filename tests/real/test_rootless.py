"""The `container` handler with a podman without root: an ordinary user's, to whom nobody gave any right.

The user may read what Python this is (which lies below root's folder here), and nothing else beyond users.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.real.engine import LIMIT_S, MILLHAND, engine
from tests.real.test_engines import IMAGES, answer_of, until

IMAGE: Final = IMAGES["podman"]
READS: Final = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


class User:
    """A user with a podman."""

    def __init__(self, home: Path) -> None:
        """`home` is the user's folder."""
        self.home = home
        self.environment = {
            "HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(home / "run"), "CONTAINERS_CONF": str(home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"), "MILLHAND_CLOUD": "none",
            "MILLHAND_CONTAINER_ENGINE": "podman", "MILLHAND_IMAGES": IMAGE,
        }  # fmt: skip

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start something as the user."""
        name = self.home.name
        become = ["/usr/bin/setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", *READS]
        return subprocess.Popen(
            [*become, *command], env=self.environment, cwd=self.home, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, command: str, *options: str, **parameters: Any) -> subprocess.Popen[str]:
        """Start `millhand run` of a shell's command in a container."""
        given = {"image": IMAGE, "cmd": ["sh", "-c", command], **parameters}
        told = [part for name, value in given.items() for part in ("-p", f"{name}={json.dumps(value)}")]
        return self.start(*MILLHAND, "run", "container", *told, *options, "--json")

    def containers(self) -> list[str]:
        """Return the ids of the user's containers."""
        return self.ask("ps", "--all", "--quiet").split()

    def ask(self, *arguments: str) -> str:
        """Ask podman itself."""
        process = self.start("podman", *arguments)
        out, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, errors
        return out


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """Make a user with an image."""
    with engine("with_rootless.sh", "ROOTLESS_HOME") as home:
        yield User(Path(home))


def test_a_user_without_rights_runs_containers(user: User) -> None:
    """As that user, whose files the outputs are; the bill has no numbers that nobody could read."""
    command = (
        "id -u; cat /run/secrets/key >/outputs/copy.txt; touch /x 2>&- || echo refused; ls /sys/class/net;"
        " touch /inputs/x 2>&- || echo refused"
    )
    started = user.run(
        command, "--out", str(user.home / "out"), outputs=["*.txt"], secrets={"key": "s3cret-s3cret"},
        readonly=True,
    )  # fmt: skip
    out, errors = started.communicate(timeout=LIMIT_S)
    answer = json.loads(out.splitlines()[-1])
    assert answer["resultCode"] == "Success", answer
    made = user.home / "out/copy.txt"
    assert made.read_text() == "s3cret-s3cret"
    assert made.stat().st_uid == user.home.stat().st_uid != 0
    shown = [line.removeprefix("stdout: ") for line in (out + errors).splitlines() if "stdout: " in line]
    assert shown == [str(user.home.stat().st_uid), "refused", "lo", "refused"]
    bill = answer["usage"]
    assert bill["cpuUserSeconds"] is not None or "could not be read" in bill["reasons"]["cpu_user_s"]
    assert user.containers() == []


def test_the_runs_own_limit_of_memory_holds_and_what_podman_ignores_is_told(user: User) -> None:
    """Limits of containers need cgroup v2 there; the worker looks at the run's processes itself."""
    out, errors = user.run("true", memory="64MiB").communicate(timeout=LIMIT_S)
    assert json.loads(out.splitlines()[-1])["resultCode"] == "Success"
    is_ignored = "limits of the container are not held" in out + errors
    version, _ = user.start("podman", "info", "--format={{.Host.CgroupsVersion}}").communicate(
        timeout=LIMIT_S
    )
    assert is_ignored is (version.strip() == "v1")
    answer = answer_of(user.run("x=1; while true; do x=$x$x; done", "--memory", "100MiB"))
    assert answer["error"]["kind"] == "out_of_memory", answer["error"]
    assert answer_of(user.run("true"))["resultCode"] == "Success"  # and it removes what is left
    assert user.containers() == []


def test_after_sigkill_nothing_goes_on(user: User) -> None:
    """The minder ends the container's processes, which are the user's own."""
    started = user.run("sleep 600")
    (id_,) = until(user.containers)
    pid = until(lambda: int(user.ask("inspect", "--format={{.State.Pid}}", id_)))
    started.kill()
    started.communicate(timeout=LIMIT_S)
    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: answer_of(user.run("true"))["resultCode"] == "Success" and not user.containers())
