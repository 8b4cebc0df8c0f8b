"""What a process says to its service manager, heard at the end of a real socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from uuid import uuid4

import pytest

from worker.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket, str]]:
    """A manager's end of the line, and its address as the environment has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@millhand-{uuid4().hex}"
    with socket(AF_UNIX, SOCK_DGRAM) as made:
        made.settimeout(0)
        made.bind(name if request.param == "path" else f"\0{name[1:]}")
        yield made, name


def heard(line: socket) -> list[str]:
    """Return what was said until now, a datagram a line of it."""
    said = []
    while True:
        try:
            said.append(line.recv(4096).decode())
        except BlockingIOError:
            return said


def test_words_arrive_each_in_a_datagram(line: tuple[socket, str]) -> None:
    """Also over an abstract socket; a status is one line, and the same one is said once."""
    end, address = line
    manager = ServiceManager.take({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"})
    assert manager.beat_s == 1.0
    manager.ready("listening\non all")
    manager.status("listening\non all")
    manager.beat()
    manager.status("working")
    manager.stopping("ending")
    manager.extend(2.5)
    assert heard(end) == [
        "READY=1\nSTATUS=listening on all",
        "WATCHDOG=1",
        "STATUS=working",
        "STOPPING=1\nSTATUS=ending",
        "EXTEND_TIMEOUT_USEC=2500000",
    ]


def test_a_status_is_bounded_and_can_always_be_sent(line: tuple[socket, str]) -> None:
    """What a file's name may hold is no reason to be silent."""
    end, address = line
    ServiceManager(address).status("\udcff" + "x" * 10_000)
    (said,) = heard(end)
    assert said.startswith("STATUS=?x")
    assert len(said) < 600


def test_what_it_takes_no_child_has() -> None:
    """A child that has the variables could say that we are well."""
    variables = {"NOTIFY_SOCKET": "/run/it", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager.take(variables)
    assert variables == {"HOME": "/"}


@pytest.mark.parametrize(
    ("given", "beat_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_answered_where_it_watches_us(given: dict[str, str], beat_s: float | None) -> None:
    """It may watch another process, or nobody; rubbish is nobody."""
    assert ServiceManager.take({"NOTIFY_SOCKET": "/run/it", **given}).beat_s == beat_s


def test_without_a_manager_nothing_is_said() -> None:
    """On a terminal there is none; a watchdog without an address is none either."""
    manager = ServiceManager.take({"WATCHDOG_USEC": "30000000"})
    manager.ready("x")
    assert (manager.is_there, manager.beat_s) == (False, None)


def test_a_manager_that_is_gone_harms_nobody_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every word is tried; the log has one line."""
    manager = ServiceManager(str(tmp_path / "nobody"), 30.0)
    for _ in range(3):
        manager.beat()
    shown = "".join(capsys.readouterr())
    assert shown.count("service.untold") == 1
