"""`millhand up` as a person meets it: real processes, from start to nothing left."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest

from handlers import models
from tests.integration.dashboard import Browser, Reader
from tests.integration.ports import free_port
from tests.integration.serving import wait_for
from worker.cli.mill import Layout

LIMIT_S = 60.0
MILLHAND = [sys.executable, "-P", "-m", "worker.cli.main"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has never used it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLHAND_", "XDG_"))}
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {**kept, "HOME": str(tmp_path), "TMPDIR": str(temporary), "MILLHAND_CLOUD": "none"}


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


class Up:
    """A `millhand up` in a process of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *args: str) -> None:
        """Start it, and wait until it says that it is up."""
        self.port = free_port()
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*MILLHAND, "up", "--port", str(self.port), "--concurrency", "2", *args],
                env=dict(environment), stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**environment, "MILLHAND_API_URL": self.url}
        self.state = Path(environment["HOME"]) / ".local/state/millhand/up"
        try:
            wait_for(lambda: self.said("agent.started") or self.process.poll() is not None, "up")
            assert self.process.poll() is None, self.log.read_text()
        except BaseException:
            self.kill()
            raise

    def said(self, words: str) -> bool:
        """Tell whether it said something."""
        return words in self.log.read_text(errors="replace")

    def tree(self) -> list[psutil.Process]:
        """Return its processes, itself first."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def child(self, command: str) -> psutil.Process:
        """Return the server's or the agent's process."""
        root = psutil.Process(self.process.pid)
        return next(one for one in root.children() if one.cmdline()[-1] == command)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run another command against it, as from another terminal: without any token."""
        return subprocess.run(
            [*MILLHAND, *args],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)

    def kill(self) -> None:
        """End everything, whatever state it is in."""
        processes: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            processes = self.tree()
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait(LIMIT_S)


@pytest.fixture
def up(tmp_path: Path, environment: dict[str, str]) -> Iterator[Up]:
    """Start `millhand up`."""
    started = Up(tmp_path, environment)
    yield started
    started.kill()


def test_the_demo_goes_as_announced_ends_by_itself_and_leaves_nothing(environment: dict[str, str]) -> None:
    """The main job of the whole program, from one command to checked files."""
    ran = subprocess.run(
        [*MILLHAND, "up", "--demo", "--json"],
        env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["ok"] is True
    assert len(told["tasks"]) >= 25
    runs = [one["run"] for one in told["tasks"]]
    assert sum(run["resultCode"] == "Success" for run in runs) == len(runs) - 1
    assert all(run["wallClockTime"] > 0 and run["CPUTime"] > 0 and run["RAMUsage"] > 0 for run in runs)
    errors = [run["error"] for run in runs if run["error"]]
    assert len(errors) == 1
    assert errors[0].startswith("handler_error: broken.glb is cut off")
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    drawn = [Path(path).read_bytes()[:8] for path in told["pictures"]]
    assert drawn in ([], [b"\x89PNG\r\n\x1a\n"] * 3)  # where there is a browser, three


def test_the_demo_tells_people_what_it_does(environment: dict[str, str]) -> None:
    """The table and the verdict, without a terminal; what it made is kept if asked for."""
    ran = subprocess.run(
        [*MILLHAND, "up", "--demo", "--keep"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    for said in ("peak RAM", "gear.glb → stl", "is cut off", "everything went as announced"):
        assert said in ran.stdout
    assert "\x1b" not in ran.stdout
    (folder,) = Path(environment["TMPDIR"]).iterdir()
    assert list(folder.glob("outputs/*/gear.stl"))


def test_the_demo_is_seen_at_work_in_a_browser(environment: dict[str, str]) -> None:
    """At the address and by the token that it names: the job, its machine, what runs there."""
    demo = subprocess.Popen(
        [*MILLHAND, "up", "--demo", "--keep", "--no-json"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert demo.stdout is not None
    said = ""
    while not (told := re.search(r" on (http\S+)\n.*\(the token to sign in: (\S+)\)\n", said)):
        said += demo.stdout.readline()
    browser = Browser(told[1])
    with browser.client, demo:

        def seen(path: str, word: str) -> Reader | None:
            assert demo.poll() is None, demo.stdout.read() if demo.stdout else ""
            with contextlib.suppress(httpx.TransportError):
                page = browser.look(path)
                return page if word in page.text else None
            return None

        def is_in() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return browser.sign_in(Path(told[2]).read_text().strip()).status_code == 303
            return False

        wait_for(is_in, "signed in")
        jobs = wait_for(lambda: seen("/ui/", "millhand demo"), "the job")
        (job,) = {link for link in jobs.links if "/ui/jobs/" in link}
        assert wait_for(lambda: seen(job, "mesh-convert"), "its tasks")
        assert wait_for(lambda: seen("/ui/machines", "Slots at work"), "its machine")
        rest = demo.stdout.read()
    assert demo.returncode == 0, rest


def test_another_terminal_submits_and_waits(up: Up, tmp_path: Path) -> None:
    """The token is found, files are converted, and the exit code tells the result."""
    good, broken = str(models.folder() / "gear.glb"), str(models.folder() / models.BROKEN)
    ran = up.run(
        "submit", "mesh-convert", good, "-p", "format=stl", "-p", "format=obj", "--wait", "--no-json"
    )
    assert ran.returncode == 0, ran.stderr
    assert "2 tasks succeeded, 0 failed" in ran.stderr
    ran = up.run("submit", "mesh-convert", good, broken, "--wait")
    assert ran.returncode == 1, ran.stderr
    results = [task["run"]["resultCode"] for task in json.loads(ran.stdout)["tasks"]]
    assert results == ["Success", "Failed"]
    assert up.run("doctor").returncode == 0


def test_files_of_runs_are_seen_in_the_browser(up: Up) -> None:
    """The server shows the folder in which its own agent stores."""
    ran = up.run("submit", "mesh-convert", str(models.folder() / "gear.glb"), "-p", "format=stl", "--wait")
    (task,) = json.loads(ran.stdout)["tasks"]
    (told,) = [file for file in task["run"]["results"]["files"] if file["name"] == "gear.stl"]
    browser = Browser(up.url)
    with browser.client:
        browser.sign_in((up.state / "token").read_text().strip())
        page = browser.look(f"/ui/runs/{task['run']['id']}")
        (link,) = [link for link in page.links if "/files/" in link]
        content = browser.client.get(link).content
    assert hashlib.sha256(content).hexdigest() == told["sha256"]


@pytest.mark.parametrize(
    ("store", "folder"),
    [
        ("/srv/out", "/srv/out"),
        ("file:///srv/with%20blank", "/srv/with blank"),
        ("s3://bucket/out", ""),
        ("https://store.test/out", ""),
        ("/srv/out,/etc", ""),
    ],
)
def test_only_a_store_that_is_a_folder_is_shown(tmp_path: Path, store: str, folder: str) -> None:
    """A comma would part it into two."""
    layout = Layout(folder=tmp_path, port=1, token_file=tmp_path / "token", store=store)
    assert layout.variables({})["MILLHAND_SERVER_FILES"] == folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_both_in_order_and_leaves_nothing(up: Up, number: signal.Signals) -> None:
    """Exit code 0: it was asked to end, and ended well."""
    processes = up.tree()
    assert up.stop(number) == 0, up.log.read_text()
    assert alive(processes) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", up.port)) != 0


def test_state_and_token_outlive_it(up: Up, tmp_path: Path, environment: dict[str, str]) -> None:
    """What was submitted is there after the next start."""
    job_id = json.loads(up.run("submit", "noop", "--wait").stdout)["job"]["id"]
    assert up.stop() == 0
    again = Up(tmp_path, environment)
    try:
        assert json.loads(again.run("jobs", job_id).stdout)["taskResultSuccesses"] == 1
    finally:
        again.kill()


@pytest.mark.parametrize(("command", "name"), [("agent", "agent"), ("serve", "server")])
def test_if_one_dies_the_other_is_stopped_and_it_is_said(up: Up, command: str, name: str) -> None:
    """Nothing is restarted silently."""
    processes = up.tree()
    up.child(command).kill()
    assert up.process.wait(LIMIT_S) == 1
    assert up.said(f"the {name} was ended by SIGKILL")
    assert alive(processes) == []


def test_a_second_signal_kills(up: Up) -> None:
    """Who is in a hurry does not wait for tasks."""
    up.run("submit", "sleep", "-p", "seconds=600", "-p", "seconds=601")
    wait_for(lambda: len(up.child("agent").children(recursive=True)) >= 2, "tasks running")
    processes = up.tree()
    up.process.send_signal(signal.SIGINT)
    wait_for(lambda: up.said("stopping"), "stopping")
    assert up.stop(signal.SIGINT) == 130
    wait_for(lambda: not alive(processes), "everything ended")


def test_nothing_outlives_a_killed_up(up: Up) -> None:
    """Even SIGKILL leaves no server and no agent behind."""
    processes = up.tree()
    up.process.kill()
    up.process.wait(LIMIT_S)
    wait_for(lambda: not alive(processes), "children ended")


def test_a_busy_port_and_a_busy_folder_are_told(up: Up, environment: dict[str, str], tmp_path: Path) -> None:
    """Before anything is started, with what to do."""
    ran = up.run("up", "--port", str(free_port()))
    assert (ran.returncode, "another `millhand up`" in ran.stderr) == (5, True)
    ran = up.run("up", "--port", str(up.port), "--state-dir", str(tmp_path / "other"))
    assert (ran.returncode, f"port {up.port} is in use" in ran.stderr) == (5, True)
