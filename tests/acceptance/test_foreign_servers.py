"""Two real agents on servers of somebody else's: the documented API, each with another habit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.agents import running_agent
from tests.acceptance.record import executions, overlaps
from tests.foreign import ForeignServer, foreign_server

RECORDER = Path(__file__).with_name("recorder.py")
TASKS = 12
LIMIT_S = 90.0  # a bound for a hang, not a measure

KINDS: dict[str, dict[str, Any]] = {
    "refuses a known id with 409": {"duplicate": "409"},
    "refuses a known id with 422": {"duplicate": "422"},
    "answers 500 for a known id": {"duplicate": "500"},
    "answers a known id with the known run": {"duplicate": "200"},
    "ignores ids, its lists lag": {"ids": "ignore", "lag_s": 0.3},
    "overwrites on a known id, its lists lag": {"ids": "overwrite", "lag_s": 0.3},
    "shows all that is written seconds later": {"lag_s": 2.0, "lagging_gets": True},
    "ignores ids, and shows all seconds later": {"ids": "ignore", "lag_s": 2.0, "lagging_gets": True},
    "refuses fields that are not documented": {"strict_fields": True},
    "wants strings": {"strings": True},
    "pages nothing, wraps objects, sends numbers as strings": {
        "unpaged": True, "wrapped": True, "numbers_as_strings": True,
    },
}  # fmt: skip


def work_off(
    server: ForeignServer, folder: Path, settings: dict[str, str], *, faults: bool = False
) -> list[str]:
    """Let two agents execute all tasks; returns the tasks' ids."""
    tasks = [server.add_task("record", parameters={"number": number}) for number in range(TASKS)]
    if faults:
        server.lose_answer(nth=2, method="POST", path="/runs", count=2)
        server.drop_request(nth=3, method="POST", path="/runs")
        server.lose_answer(nth=4, method="PUT", path="/runs", count=3)
        server.fail_next(503, count=3, method="PUT")
    given = {
        "MILLHAND_HANDLERS": str(RECORDER), "MILLHAND_TYPES": "record", "MILLHAND_POLL_INTERVAL": "0.2",
        "MILLHAND_POLL_MAX": "0.5", "MILLHAND_SETTLE": "0.6", "MILLHAND_REQUEST_TIMEOUT": "5",
    }  # fmt: skip
    with (
        running_agent(folder / "a", server.url, server.token, slots=3, settings=given | settings),
        running_agent(folder / "b", server.url, server.token, slots=3, settings=given | settings),
    ):
        server.wait_until(lambda: all(shows_success(server, task) for task in tasks), LIMIT_S)
    return tasks


def shows_success(server: ForeignServer, task_id: str) -> bool:
    """Tell whether the most recent run of a task succeeded, and none is left running."""
    runs = server.runs_of(task_id)
    latest = max(runs, key=lambda run: (run["createdAt"], run["id"]), default=None)
    is_over = all(run["stoppedAt"] or not run["startedAt"] for run in runs)
    return latest is not None and latest["resultCode"] == "Success" and is_over


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_is_executed_once_whatever_the_servers_habits(kind: str, tmp_path: Path) -> None:
    """By the children's own record; and the task shows the success."""
    settings = {"MILLHAND_WIRE": "strings"} if "strings" in KINDS[kind] else {}
    settings["MILLHAND_SETTLE"] = str(2 * KINDS[kind].get("lag_s", 0.3))
    with foreign_server(**KINDS[kind]) as server:
        tasks = work_off(server, tmp_path, settings)
    record = executions(tmp_path)
    assert overlaps(record) == []
    assert Counter(line.task_id for line in record if line.what == "begin") == Counter(tasks)


def test_requests_and_answers_that_get_lost_change_nothing(tmp_path: Path) -> None:
    """Claims whose answer got lost are found again, reports are repeated until they are answered."""
    with foreign_server() as server:
        tasks = work_off(server, tmp_path, {}, faults=True)
        successes = [run["taskId"] for run in server.runs.values() if run["resultCode"] == "Success"]
    record = executions(tmp_path)
    assert overlaps(record) == []
    assert Counter(line.task_id for line in record if line.what == "begin") == Counter(tasks)
    assert Counter(successes) == Counter(tasks)
