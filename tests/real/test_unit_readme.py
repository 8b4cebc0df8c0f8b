"""deploy/README.md, its section on systemd: each command typed as it stands, in order, on a booted systemd.

What is different here, and why:

- `make wheel` is not typed: `.ci/run` does it, on every Python. The same build lies in `dist`.
- There is no network: root's `pip.conf` has pip take the locked libraries from a folder, by their hashes.
- `https://jobs.example.com` is nobody: the agent of a host that only works is ready, and says so.
- There is no GPU: the agent for the first one starts, and offers none.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.real.engine import HERE, engine, missing
from tests.real.host import AGENT, Host
from tests.wheels import build_wheel

HOME = HERE.parents[1]
PAGE = (HOME / "deploy/README.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("### With systemd\n")[2].partition("\n## ")[0]
SERVER = "millhand-server.service"
NEEDED = ("debian_python.sh", "with_sudo.sh")
PIP = "[global]\nno-index = true\nfind-links = /wheels\n"


def commands(block: str) -> list[str]:
    """Return the commands of a block, each as one line."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


BLOCKS = [commands(block) for block in re.findall(r"^```\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)]
OTHER_HOST = [block for block in BLOCKS if any("--agent" in command for command in block)]
THIS_HOST = [block for block in BLOCKS if block not in OTHER_HOST]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Boot where a checkout with its wheel lies, and nothing of millhand is installed."""
    for script in NEEDED:
        done = subprocess.run([HERE / script], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            missing(f"{script}: {done.stderr[-1000:]}")
    with TemporaryDirectory(prefix="millhand-readme-", dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        for name in ("deploy", "requirements"):
            shutil.copytree(HOME / name, root / "src" / name)
        wheel = build_wheel(HOME, root / "src" / "dist")
        shutil.copy(wheel, root / "src")
        (root / "src" / "token").write_text("a token of the other server's")
        (root / "root/.config/pip").mkdir(parents=True)
        (root / "root/.config/pip/pip.conf").write_text(PIP)
        download(root / "wheels")
        with engine("with_systemd.sh", "IN", {"FILES": str(root)}) as inside:
            yield Host(shlex.split(inside))


def download(folder: Path) -> None:
    """Get the locked libraries, by their hashes."""
    lock = HOME / "requirements" / "image.txt"
    command = [sys.executable, "-m", "pip", "download", "-q", "--require-hashes", "-r", str(lock)]
    done = subprocess.run([*command, "-d", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def has_all(host: Host) -> None:
    """Hold what the page says that the installation makes; a task is done."""
    version = host.sh("readlink /opt/millhand/current").strip()
    assert host.sh(f"ls /opt/millhand/{version}/bin/millhand")
    host.sh("id millhand && id millhand-server && ls /etc/millhand/agent.env /etc/millhand/server.env")
    assert host.sh("stat -c '%U %a' /etc/millhand/token").split() == ["root", "600"]
    for unit in (AGENT, SERVER, "millhand-server.socket"):
        assert host.show("ActiveState", unit) == "active"
        assert host.run("systemctl", "is-enabled", unit).strip() == "enabled"
    works(host)


def works(host: Host) -> None:
    """Hold that a task is done."""
    assert host.last_run(host.submit("noop", "--wait"))["resultCode"] == "Success"


def has_another_version(host: Host) -> None:
    """Hold that an upgrade is the current version now, and the one before is there still."""
    has_all(host)
    assert first_version(host) not in host.sh("readlink /opt/millhand/current")
    host.sh(f"ls -d /opt/millhand/*{first_version(host)}")


def has_the_first_version(host: Host) -> None:
    """Hold that a rollback went back."""
    has_all(host)
    assert first_version(host) in host.sh("readlink /opt/millhand/current")


def first_version(host: Host) -> str:
    """Return what tells the wheel that was installed first from others."""
    return host.sh("sha256sum /src/millhand-*.whl")[:8]


def has_one_agent(host: Host) -> None:
    """Hold that the agent of the first GPU stands in for the one of all."""
    assert host.show("ActiveState") == "inactive"
    assert host.show("ActiveState", "millhand-agent@gpu0") == "active"
    works(host)


def shows_files_and_money(host: Host) -> None:
    """Hold that the server gives a file that a run of the agent stored, and tells what runs cost."""
    host.sh("printf 'currency = \"EUR\"\n[[price]]\ncpu_hour = 1.0\n' >/etc/millhand/prices.toml")
    host.sh("echo MILLHAND_SERVER_PRICES=/etc/millhand/prices.toml >>/etc/millhand/server.env")
    host.run("systemctl", "restart", SERVER)
    models = "/opt/millhand/current/bin/python -c 'from handlers import models; print(models.folder())'"
    model = f"{host.sh(models).strip()}/gear.glb"
    run = host.last_run(host.submit("mesh-convert", "-p", f"input={model}", "-p", "format=stl", "--wait"))
    (file,) = run["results"]["files"]
    assert file["url"].startswith("file:///srv/millhand/")
    ask = "curl -sS --fail --cookie-jar /tmp/jar --cookie /tmp/jar http://127.0.0.1:8077/ui"
    host.sh(f"{ask}/sign-in --data-urlencode token@/etc/millhand/token")
    digest = host.sh(f"{ask}/runs/{run['id']}/files/0 | sha256sum").split()[0]
    assert digest == file["sha256"]
    assert "EUR" in host.sh(f"{ask}/reports")


def has_nothing(host: Host) -> None:
    """Hold that no unit and no program is left; settings and state are."""
    assert host.sh("ls /opt/millhand", code=2)
    assert host.sh("systemctl list-unit-files 'millhand-*' --no-legend", code=None).strip() == ""
    assert "millhand" not in host.sh("ls -R /etc/systemd/system/*.wants")
    host.sh("ls /etc/millhand/token /var/lib/millhand/agent/journal")


AFTER: dict[str, Callable[[Host], None]] = {
    "install.sh install": has_all,
    "restart millhand-agent": works,
    "restart millhand-server millhand-agent": shows_files_and_money,
    "install.sh upgrade": has_another_version,
    "install.sh rollback": has_the_first_version,
    "enable --now millhand-agent@gpu0": has_one_agent,
    "install.sh uninstall": has_nothing,
}


def typed(host: Host, command: str) -> str:
    """Type a command in the checkout; return what it prints."""
    return host.run("bash", "-c", f"cd /src\n{command}")


def typed_in_vain(host: Host, command: str) -> str:
    """Type a command that is refused; return what it prints."""
    return host.run("bash", "-c", f"cd /src\n{command}", code=1)


def test_the_page_has_commands() -> None:
    """Those that are checked are there, so that a page that is written anew cannot pass unseen."""
    lines = [command for block in BLOCKS for command in block]
    assert all(any(word in line for line in lines) for word in AFTER)
    assert len(OTHER_HOST) == 1
    assert lines[0] == "make wheel"


def test_who_types_the_page_has_what_it_says(host: Host) -> None:
    """Installed, looked at, restarted, upgraded, taken back, with GPUs, and away; each step is looked at."""
    for command in [command for block in THIS_HOST for command in block if command != "make wheel"]:
        if "install.sh upgrade" in command:  # a wheel that is another one
            host.sh("for wheel in /src/dist/*.whl; do echo >>$wheel; done")
        typed(host, command)
        if "install.sh install" in command:
            before = host.show("MainPID")
            typed(host, command)  # a second call changes nothing
            assert host.show("MainPID") == before
        for word, holds in AFTER.items():
            if word in command:
                holds(host)


def test_a_purge_after_a_removal_removes_the_rest(host: Host) -> None:
    """All results were delivered, as the removal saw; a journal that was written to since is another."""
    host.sh("echo >>/var/lib/millhand/agent/journal/a-line")
    assert "has changed since" in typed_in_vain(host, "sudo deploy/systemd/install.sh uninstall --purge")
    host.run("rm", "/var/lib/millhand/agent/journal/a-line")
    for _ in range(2):  # the second time nothing is there
        typed(host, "sudo deploy/systemd/install.sh uninstall --purge")
        assert host.sh("ls -d /opt/millhand /etc/millhand /var/lib/millhand", code=2)


def test_who_types_the_page_on_a_host_that_only_works_has_an_agent(host: Host) -> None:
    """After a purge, as the page names it, this host is as new; then it has an agent and no server."""
    (install,) = [command for command in THIS_HOST[0] if "install.sh install" in command]
    typed(host, install)
    typed(host, "sudo deploy/systemd/install.sh uninstall --purge")
    assert host.sh("ls -d /etc/millhand /var/lib/millhand", code=2)
    ((command,),) = OTHER_HOST
    typed(host, command)
    assert host.show("LoadState", SERVER) == "not-found"
    assert host.show("ActiveState") == "active"
    host.wait_for_status("the server does not answer")
    assert "https://jobs.example.com" in host.sh("cat /etc/millhand/agent.env")
    assert host.sh("cat /etc/millhand/token") == "a token of the other server's"
