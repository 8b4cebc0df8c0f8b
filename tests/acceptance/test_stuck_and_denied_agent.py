"""A real agent whose token is taken away in the middle of a run, or whose requests of one kind all hang."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.agents import running_agent
from tests.foreign import ForeignServer, foreign_server

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
REPORTS: Final = 4  # that must get through while others hang
HANDLER: Final = '''
"""A handler that goes on telling its progress until it may end."""
import time
from pathlib import Path
from worker import Context, handler

@handler("slow")
def slow(ctx: Context, *, go: str) -> dict:
    """Wait until a file is there."""
    told = 0
    while not Path(go).exists():
        told += 1
        ctx.progress(min(told / 10_000, 0.9))
        time.sleep(0.02)
    return {"done": True}
'''


class Scene:
    """A foreign server, a folder, and what the requests to it show."""

    def __init__(self, server: ForeignServer, folder: Path) -> None:
        """Write the handler."""
        self.server, self.folder = server, folder
        (folder / "slow.py").write_text(HANDLER)
        self.token_file = folder / "token"
        self.token_file.write_text(server.token)
        self.settings = {
            "MILLHAND_HANDLERS": str(folder / "slow.py"), "MILLHAND_TYPES": "slow", "MILLHAND_CLAIMS": "key",
            "MILLHAND_TOKEN_FILE": str(self.token_file), "MILLHAND_REQUEST_TIMEOUT": "300s",
            "MILLHAND_REPORT_INTERVAL": "0.1s", "MILLHAND_HEARTBEAT": "0.5s",
            "MILLHAND_POLL_INTERVAL": "0.2s", "MILLHAND_POLL_MAX": "0.5s",
        }  # fmt: skip

    def add_task(self, name: str) -> str:
        """Add a task that ends when the file of its name is there."""
        return self.server.add_task("slow", parameters={"go": str(self.folder / name)})

    def let_end(self, name: str) -> None:
        """Let a task end."""
        (self.folder / name).touch()

    def asked(self, method: str, path: str, token: str | None = None) -> int:
        """Count requests, of those with a token."""
        return sum(
            request.method == method
            and request.path.endswith(path)
            and (token is None or request.headers["authorization"] == f"Bearer {token}")
            for request in self.server.requests
        )

    def reports(self, token: str | None = None) -> int:
        """Count reports that have arrived."""
        return sum(self.asked("PUT", f"/runs/{run_id}", token) for run_id in self.server.runs)

    def result(self, task_id: str) -> object:
        """Return what the most recent run of a task shows."""
        runs = self.server.runs_of(task_id)
        return runs[-1].get("resultCode") if runs else None

    def until_more_reports(self, token: str | None = None) -> None:
        """Wait until some reports have come."""
        known = self.reports(token)
        self.server.wait_until(lambda: self.reports(token) >= known + REPORTS, LIMIT_S)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Give a foreign server and a folder for an agent."""
    with foreign_server() as server:
        yield Scene(server, tmp_path)


def test_an_agent_whose_token_is_replaced_in_the_middle_of_a_run_goes_on(
    scene: Scene, tmp_path: Path
) -> None:
    """Reports, polls and the end are denied meanwhile; the run goes on, and all is told with the new one."""
    server = scene.server
    first, second = server.token, "the-next-token"
    task_id = scene.add_task("one")
    with running_agent(tmp_path / "agent", server.url, "unused", slots=2, settings=scene.settings):
        server.wait_until(lambda: scene.reports(first) >= REPORTS, LIMIT_S)
        server.token = second
        scene.until_more_reports(first)
        polls = scene.asked("GET", "/tasks", first)
        server.wait_until(lambda: scene.asked("GET", "/tasks", first) > polls, LIMIT_S)
        ends = scene.reports(first)
        scene.let_end("one")
        server.wait_until(lambda: scene.reports(first) > ends, LIMIT_S)
        assert scene.result(task_id) is None
        (tmp_path / "new").write_text(second)
        (tmp_path / "new").replace(scene.token_file)
        server.wait_until(lambda: scene.result(task_id) == "Success", LIMIT_S)
        scene.let_end("two")
        other_id = scene.add_task("two")
        server.wait_until(lambda: scene.result(other_id) == "Success", LIMIT_S)
    assert [len(server.runs_of(id_)) for id_ in (task_id, other_id)] == [1, 1]


def test_requests_of_one_kind_that_hang_hold_up_no_other(scene: Scene, tmp_path: Path) -> None:
    """All polls wait for an answer, then all claims: progress and the end of a run arrive.

    Then all reports: further tasks are claimed, and what could not be told arrives when it can.
    """
    server = scene.server
    tasks = {"one": scene.add_task("one")}
    with running_agent(tmp_path / "agent", server.url, "unused", slots=3, settings=scene.settings):
        server.wait_until(lambda: scene.reports() >= REPORTS, LIMIT_S)

        rule = server.hold("GET", "/tasks$")
        server.wait_until(rule.hit.is_set, LIMIT_S)
        scene.until_more_reports()
        server.release(rule)

        rule = server.hold("POST", "/runs$")
        tasks["two"] = scene.add_task("two")
        server.wait_until(rule.hit.is_set, LIMIT_S)
        scene.until_more_reports()
        scene.let_end("one")
        server.wait_until(lambda: scene.result(tasks["one"]) == "Success", LIMIT_S)
        assert len(server.runs) == 1
        server.release(rule)
        server.wait_until(lambda: server.runs_of(tasks["two"]), LIMIT_S)

        rule = server.hold("PUT")
        server.wait_until(rule.hit.is_set, LIMIT_S)
        tasks["three"] = scene.add_task("three")
        server.wait_until(lambda: server.runs_of(tasks["three"]), LIMIT_S)
        polls = scene.asked("GET", "/tasks")
        server.wait_until(lambda: scene.asked("GET", "/tasks") > polls, LIMIT_S)
        for name in ("two", "three"):
            scene.let_end(name)
            assert scene.result(tasks[name]) is None
        server.release(rule)
        server.wait_until(lambda: list(map(scene.result, server.tasks)) == ["Success"] * 3, LIMIT_S)
    assert len(server.runs) == 3
