"""The handlers as they really run: found by their entry points, in a child process of the executor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handlers import models
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.executor import Event, LogEvent, StopRequest
from worker.executor.local import run_local
from worker.executor.outcome import Outcome

LIMIT_S = 60.0


def run(
    folder: Path, type_: str, parameters: Mapping[str, Any], stop_at: str | None = None
) -> tuple[Outcome, list[Event]]:
    """Run one task to its end; with `stop_at`, cancel it as soon as it logs that line."""
    events: list[Event] = []
    stop = StopRequest()

    def on_event(event: Event) -> None:
        events.append(event)
        if isinstance(event, LogEvent) and stop_at is not None and event.line.startswith(stop_at):
            stop.request(ErrorKind.CANCELLED, "asked by the test", 30.0)

    async def within_the_limit() -> Outcome:
        async with asyncio.timeout(LIMIT_S):
            return (await run_local(type_, parameters, on_event, state_dir=folder, stop=stop))[0]

    return asyncio.run(within_the_limit()), events


@pytest.mark.parametrize(
    ("type_", "parameters", "value"),
    [("noop", {"value": [1]}, {"value": [1]}), ("sleep", {"seconds": "0.01", "steps": "2"}, {"steps": 2})],
)
def test_simple_handlers_succeed_by_receipt(
    tmp_path: Path, type_: str, parameters: dict[str, Any], value: dict[str, Any]
) -> None:
    """Their parameters may come as text."""
    outcome, _ = run(tmp_path, type_, parameters)
    assert outcome.code == ResultCode.SUCCESS
    assert outcome.value.items() >= value.items()


def test_a_converted_mesh_is_stored_with_its_library(tmp_path: Path) -> None:
    """Both files of an OBJ are artifacts of the run, of the kinds they are."""
    outcome, _ = run(tmp_path, "mesh-convert", {"input": str(models.folder() / "lamp.glb"), "format": "obj"})
    assert outcome.code == ResultCode.SUCCESS
    assert [file.name for file in outcome.files] == ["lamp.obj", "lamp.mtl"]
    assert outcome.files[0].content_type == "model/obj"
    assert outcome.files[0].size_bytes == outcome.value["bytes"]


def test_the_broken_sample_fails_with_its_sentence(tmp_path: Path) -> None:
    """A person reads what is wrong, without a traceback."""
    outcome, _ = run(tmp_path, "mesh-convert", {"input": str(models.folder() / models.BROKEN)})
    assert outcome.error is not None
    assert outcome.error.text().startswith("handler_error: broken.glb is cut off: it has 8,832 bytes")
    assert outcome.error.traceback is None


def test_a_program_that_is_cancelled_may_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets SIGTERM and time; what it says then is in the log."""
    monkeypatch.setenv("MILLHAND_COMMANDS", sys.executable)
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('in order', flush=True), sys.exit(0)))\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    outcome, events = run(tmp_path, "command", {"program": sys.executable, "args": ["-c", code]}, "started")
    assert outcome.error is not None
    assert outcome.error.kind == ErrorKind.CANCELLED
    assert [event.line for event in events if isinstance(event, LogEvent) and "in order" in event.line]
