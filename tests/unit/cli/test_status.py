"""How an agent's status is shown to people, and what a drain says that it waits for."""

from __future__ import annotations

import msgspec
import pytest

from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World
from worker.agent.operators.status import Status
from worker.api.wire import ErrorKind
from worker.cli import human
from worker.cli.drain import waits_for
from worker.cli.status_view import show, state_of
from worker.cli.terminal import Output
from worker.cli.waiting_line import Line

PLAIN = Output(is_json=False, is_terminal=False, has_color=False)


def status(**changes: object) -> dict[str, object]:
    """Return the document of an agent that does nothing yet, changed."""

    async def main() -> Status:
        survey = (await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()).survey
        if "drain" in changes:
            survey.drain.request(ErrorKind.DRAINED, "millhand drain", 90.0)
        return survey.status()

    document = msgspec.to_builtins(run_virtual(main()))
    return {**document, **{name: value for name, value in changes.items() if name != "drain"}}


@pytest.mark.parametrize(
    ("holds", "is_ready", "said"),
    [
        ([], True, "claims"),
        (["slots"], True, "busy"),
        (["slots", "operator"], True, "paused"),
        (["disk"], True, "claims nothing"),
        (["recovery"], False, "not ready: the server has not answered yet"),
    ],
)
def test_the_state_is_told_in_a_word(holds: list[str], is_ready: bool, said: str) -> None:
    """What a person did comes before what the agent does; why stands below it."""
    told = [{"by": by, "reason": "because"} for by in holds]
    assert state_of(status(holds=told, isReady=is_ready)) == said


def test_an_agent_that_is_stuck_says_so_first() -> None:
    """Whatever else it says then may be of long ago."""
    assert state_of(status(stuck=["tasks"])) == "stuck: tasks; its log says where"


def test_all_that_a_person_must_see_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs, GPUs with why they get none, results that wait for a person; hostile names do no harm."""
    run = {
        "runId": "r-1",
        "taskId": "t-1",
        "type": "[red]odd[/red]",
        "progress": 0.25,
        "since": None,
        "gpus": ["GPU-1"],
    }
    gpu = {"uuid": "GPU-1", "name": "NVIDIA L4", "condition": "unfit", "reason": "it is lost", "runs": []}
    journal = {"entries": 3, "undelivered": 2, "forAPerson": 1, "isHealthy": False}
    show(PLAIN, "/state", 42, status(runs=[run], gpus=[gpu], journal=journal))  # type: ignore[arg-type]
    out = capsys.readouterr().out
    for text in (
        "agent node/agent-1 (pid 42)", "3 open, 2 outcomes not delivered", "1 entry for a person",
        "cannot be written", "[red]odd[/red]", "25 %", "it is lost", "recovery: ",
    ):  # fmt: skip
        assert text in out


def test_the_document_of_another_version_is_shown_as_far_as_it_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """During an upgrade the command may be newer than the agent, or older."""
    show(PLAIN, "/state", 42, {"holds": [{"by": "new", "reason": "x"}], "isReady": True})  # type: ignore[arg-type]
    assert "new: x" in capsys.readouterr().out


def test_a_drain_says_what_it_waits_for() -> None:
    """Runs with their progress, files, outcomes, and the time that is left."""
    runs = [{"type": "render", "progress": 0.5}] * 5
    said = waits_for(status(drain=True, runs=runs, slots={"busy": 5}, storing=1))
    assert said.startswith("5 runs, files of 1 run to go (render 50 %, ")
    assert said.endswith(" …), 1 min 30 s left at most")
    assert human.rough(29.7) == "30 s"


def test_lines_that_stay_are_written_once_for_each_thing() -> None:
    """A log is not filled by the seconds that go by; on a terminal each moment is shown."""
    lines = ["2 runs to go, 9 s left", "2 runs to go, 8 s left", "1 run to go, 7 s left"]
    for is_in_place, expected in ((False, [lines[0], lines[2]]), (True, lines)):
        written: list[str] = []
        line = Line(written.append, is_in_place)
        for said in lines:
            line.say(said)
        assert written == expected
