"""The shipped units under systemd on cgroup v2, in an emulated machine: each run has a group of its own."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.real.archive import needed_files, write_archive
from tests.real.engine import HERE, missing
from tests.real.test_cgroup2 import console_of

ROOT: Final = HERE.parents[1]
SYSTEMD: Final = Path("/lib/systemd")
PROGRAMS: Final = (
    SYSTEMD / "systemd", SYSTEMD / "systemd-executor", SYSTEMD / "systemd-journald",
    Path("/bin/systemctl"), Path("/bin/journalctl"),
)  # fmt: skip
UNITS: Final = ("*.target", "systemd-journald*")
MIB: Final = 1 << 20
PASSWD: Final = """root:x:0:0::/root:/bin/sh
millhand:x:990:990::/var/lib/millhand:/bin/false
millhand-server:x:991:991::/var/lib/millhand:/bin/false
nobody:x:65534:65534::/:/bin/false
"""
GROUPS: Final = "root:x:0:\nmillhand:x:990:\nmillhand-server:x:991:\nnogroup:x:65534:\n"
SETTINGS: Final = f"""MILLHAND_API_URL=http://127.0.0.1:8077
MILLHAND_HANDLERS={HERE}/eat.py
MILLHAND_CONCURRENCY=2
MILLHAND_CLOUD=none
MILLHAND_MIN_FREE=16MiB
MILLHAND_DRAIN_TIMEOUT=5s
"""
# The tests' Python may lie in somebody's home, which the units hide.
OPEN: Final = "[Service]\nProtectHome=no\n"
CHECKS: Final = f"""[Unit]
After=basic.target
[Service]
ExecStart={sys.executable} {HERE}/machine_units.py
StandardOutput=file:/dev/console
StandardError=file:/dev/console
"""
TARGET: Final = "[Unit]\nRequires=basic.target checks.service systemd-journald.service\n"
JOURNAL: Final = "[Journal]\nStorage=volatile\nForwardToConsole=yes\n"  # told when something goes wrong
MILLHAND: Final = f'#!/bin/sh\nexec {sys.executable} -P -m worker.cli.main "$@"\n'


def files_of_the_machine() -> Iterator[tuple[str, str]]:
    """Yield what lies there beside programs: the shipped units, as install.sh lays them, and settings."""
    yield "/init", "#!/bin/sh\nexec /lib/systemd/systemd --unit=checks.target\n"
    yield "/etc/passwd", PASSWD
    yield "/etc/group", GROUPS
    yield "/etc/machine-id", "0123456789abcdef0123456789abcdef\n"
    yield "/etc/millhand/token", "a-token-of-the-machine\n"
    yield "/etc/millhand/agent.env", SETTINGS
    yield "/opt/millhand/current/bin/millhand", MILLHAND
    yield "/etc/systemd/journald.conf", JOURNAL
    units = "/etc/systemd/system"
    for name in ("millhand-agent.service", "millhand-server.service", "millhand-server.socket"):
        yield f"{units}/{name}", (ROOT / "deploy/systemd" / name).read_text()
    for name in ("millhand-agent.service", "millhand-server.service"):
        yield f"{units}/{name}.d/open.conf", OPEN
    yield f"{units}/checks.service", CHECKS
    yield f"{units}/checks.target", TARGET


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Boot the machine, and give what was seen in it."""
    if os.geteuid() != 0:
        missing("the archive of the machine's root is made by root")
    if not (SYSTEMD / "systemd").exists():
        missing("there is no systemd here whose programs the machine could have")
    if any(ROOT.is_relative_to(hidden) for hidden in ("/tmp", "/var/tmp")):
        missing("the units hide /tmp and /var/tmp, and this checkout lies there: run it from elsewhere")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["server"], "millhand"]
    programs = [path for path in PROGRAMS if path.exists()]
    units = {path for form in UNITS for path in (SYSTEMD / "system").glob(form)}
    files = needed_files(ROOT, needs, folders=("server",), programs=programs) | units
    archive = tmp_path_factory.mktemp("machine") / "root.cpio"
    with archive.open("wb") as out:
        write_archive(out, files, {name: text.encode() for name, text in files_of_the_machine()})
    console = console_of(archive)
    archive.unlink()
    for line in console.splitlines():
        if line.startswith("ANSWER "):
            told: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
            assert "wrong" not in told, told["wrong"]
            return told
    missing(f"the machine told nothing: {console[-6000:]}")
    raise AssertionError


def test_the_group_of_the_unit_is_delegated_with_its_controllers(answer: dict[str, Any]) -> None:
    """What systemd gives with Delegate=yes is used: processes are in groups below, none in the unit's own."""
    assert {"memory", "cpu", "pids"} <= set(answer["controllers"])
    assert answer["at work"]["."]["processes"] == 0
    assert sum(told["processes"] for told in answer["at work"].values()) >= 3  # agent, minder, a child


def test_each_run_has_a_group_of_its_own(answer: dict[str, Any]) -> None:
    """Its child is there alone, apart from the agent."""
    at_work = answer["at work"]
    (of_run,) = [name for name, told in at_work.items() if told["sleepers"]]
    assert at_work[of_run]["processes"] == at_work[of_run]["sleepers"] == 1
    assert of_run != "."


def test_a_run_that_eats_is_ended_by_the_limit_of_its_group(answer: dict[str, Any]) -> None:
    """And billed by what its group counted; the agent goes on."""
    run = answer["eaten"]
    assert run["resultCode"] == "Failed"
    assert run["error"].startswith("out_of_memory: "), run["error"]
    assert "64 MiB" in run["error"]
    assert run["results"]["usage"]["methods"]["cpu_user_s"] == "cgroup", run["results"]["usage"]
    assert answer["restarts"] == "0"


def test_a_group_goes_with_its_run_and_all_go_with_the_agent(answer: dict[str, Any]) -> None:
    """Only that of the run which goes on is there; a stop of the unit leaves none."""
    after = answer["after it"]
    assert [name for name, told in after.items() if told["sleepers"]] == [
        name for name, told in answer["at work"].items() if told["sleepers"]
    ]
    assert all(told["limit"] == "max" for told in after.values())
    assert answer["stopped"] == {"state": "inactive", "result": "success", "groups": {}}
