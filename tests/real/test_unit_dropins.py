"""The shipped drop-ins on a real systemd: the agent starts with each, and what each is for holds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.real.engine import HERE, missing
from tests.real.host import AGENT, Host
from tests.real.installed import SHIPPED, installed_host

NAMES = sorted(path.stem for path in (SHIPPED / "drop-ins").glob("*.conf"))
AGENTS_OWN = "/run/credentials/millhand-agent.service/token /var/lib/millhand/agent/journal/*"
HANDLERS = '''
import subprocess
from worker import Context, handler

@handler("tries")
def tries(ctx: Context, command: str) -> dict:
    """Try a line of shell."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    return {"code": done.returncode, "said": done.stdout + done.stderr}
'''
DOCKERD = """# In the place of a dockerd: its socket, which members of the group may use, and one answer.
import grp, os, socket
line = socket.socket(socket.AF_UNIX)
os.umask(0o117)
line.bind("/run/docker.sock")
os.chown("/run/docker.sock", 0, grp.getgrnam("docker").gr_gid)
line.listen()
while True:
    asker, _ = line.accept()
    asker.recv(4096)
    asker.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nOK")
    asker.close()
"""
PING = "curl -sS --unix-socket /run/docker.sock http://docker/_ping"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Boot, and install server and agent from the wheel of this tree; a Chromium is there."""
    done = subprocess.run([HERE / "with_chromium.sh", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"there is no Chromium: {done.stderr[-1000:]}")
    with installed_host(HANDLERS) as it:
        it.sh("id millhand-task || useradd --system --no-create-home --shell /usr/sbin/nologin millhand-task")
        yield it


Lays = Callable[..., None]


@pytest.fixture
def lays(host: Host) -> Iterator[Lays]:
    """Return what lays drop-ins over the agent's unit, as deploy/README.md says, and starts it anew."""

    def lay(*names: str) -> None:
        for name in names:
            lay_over(host, AGENT, name)
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "restart", AGENT)

    yield lay
    for name in NAMES:
        host.run("rm", "-f", f"/etc/systemd/system/{AGENT}.d/{name}.conf")
    lay()


def lay_over(host: Host, unit: str, name: str) -> None:
    """Type what the page says, but for where the shipped files lie."""
    place = f"/etc/systemd/system/{unit}.d/{name}.conf"
    host.run("install", "-D", "-m", "644", f"/deploy/drop-ins/{name}.conf", place)


def tried(host: Host, command: str) -> tuple[int, str]:
    """Return exit code and output of a line of shell in a run."""
    run = host.last_run(host.submit("tries", "-p", f"command={command}", "--wait"))
    assert run["resultCode"] == "Success", run
    return run["results"]["code"], run["results"]["said"]


@pytest.mark.parametrize("name", NAMES)
def test_systemd_knows_every_line_and_the_agent_starts(host: Host, lays: Lays, name: str) -> None:
    """Also over the unit of one agent of several; a run is done with it."""
    lays(name)
    assert host.run("systemd-analyze", "verify", "--recursive-errors=no", AGENT) == ""
    several = "millhand-agent@0.service"
    lay_over(host, several, name)
    host.run("systemctl", "daemon-reload")
    assert host.run("systemd-analyze", "verify", "--recursive-errors=no", several) == ""
    host.run("rm", "-r", f"/etc/systemd/system/{several}.d")
    assert host.show("ActiveState") == "active"
    assert tried(host, "exit 0") == (0, "")


def test_gpu_has_handlers_see_the_devices(host: Host, lays: Lays) -> None:
    """A node like the driver's, with no driver behind it: without the drop-in there is no such file.

    That other devices stay shut (DevicePolicy) is not to be seen here: systemd may not set it in a container.
    """
    host.sh("test -e /dev/nvidia0 || mknod -m 666 /dev/nvidia0 c 195 0")
    assert "No such file" in tried(host, "cat /dev/nvidia0")[1]
    lays("gpu")
    assert "No such device or address" in tried(host, "cat /dev/nvidia0")[1]
    assert host.show("LimitMEMLOCK") == "infinity"


def test_containers_has_handlers_talk_to_the_engine(host: Host, lays: Lays) -> None:
    """By the group that owns its socket; a dockerd itself is not here: `make test-real` has one elsewhere."""
    host.sh("getent group docker || groupadd --system docker")
    host.run("systemd-run", "--unit=dockerd", "/usr/bin/python3", "-c", DOCKERD)
    host.wait(lambda: "OK" in host.sh(PING, code=None), "the engine")
    assert tried(host, PING)[0] != 0
    lays("containers")
    assert tried(host, PING) == (0, "OK")


def test_task_user_has_handlers_run_as_another_user(host: Host, lays: Lays) -> None:
    """Without a capability, out of reach of all that is the agent's."""
    lays("task-user")
    assert host.show("User") == "root"
    code, said = tried(host, "id -un; grep CapEff /proc/self/status")
    assert (code, said.split()) == (0, ["millhand-task", "CapEff:", "0" * 16])
    assert reads_nothing(host)


def test_webgl_has_a_browser_draw_in_its_sandbox(host: Host, lays: Lays) -> None:
    """For real: `render-webgl` fails without the drop-in, and makes its picture with it."""
    assert "the browser cannot be shut in here" in drawn(host)["error"]
    lays("webgl")
    assert drawn(host)["resultCode"] == "Success"
    assert not reads_nothing(host)  # which is what the drop-in says of itself


def test_webgl_with_a_task_user_keeps_handlers_from_what_is_the_agents(host: Host, lays: Lays) -> None:
    """Landlock does not allow a browser's mounts; the user stands in for it."""
    lays("webgl", "task-user")
    assert drawn(host)["resultCode"] == "Success"
    assert reads_nothing(host)


def drawn(host: Host) -> dict[str, Any]:
    """Return the run that draws a model of the demo."""
    folder = host.sh(
        "/opt/millhand/current/bin/python -c 'from handlers import models; print(models.folder())'"
    )
    sizes = ("-p", "width=64", "-p", "height=64", "--wait")
    return host.last_run(host.submit("render-webgl", "-p", f"input={folder.strip()}/gear.glb", *sizes))


def reads_nothing(host: Host) -> bool:
    """Tell whether a run can read neither token nor journal, which are there."""
    reads = f"for it in {AGENTS_OWN}; do head -c 1 $it >/dev/null 2>&1 && echo $it; done; true"
    assert len(host.sh(reads).split()) >= 2
    return tried(host, reads) == (0, "")
