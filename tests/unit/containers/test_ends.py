"""Ends of containers where something goes wrong: what was judged is kept, nothing is billed unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.containers.conftest import FakeEngine, context, run
from worker import Cancelled, Fail, OutOfMemory

BUSY = {
    "code": 1,
    "err": "Error response from daemon: unable to remove filesystem: device or resource busy\n",
}


@pytest.mark.parametrize(
    ("state", "error"),
    [({}, None), ({"ExitCode": 3}, Fail), ({"ExitCode": 137, "OOMKilled": True}, OutOfMemory)],
)
def test_a_container_that_cannot_be_removed_changes_no_end(
    engine: FakeEngine, tmp_path: Path, state: dict[str, Any], error: type[Exception] | None
) -> None:
    """What was finished stays so; it is logged, and the bill is told as one that may go on."""
    engine.says("rm", **BUSY)
    engine.ends(**state)
    ctx = context(tmp_path, {"memory": "64M"})
    if error is None:
        assert run(ctx)["exitCode"] == 0
    else:
        with pytest.raises(error, match="exit code") as raised:
            run(ctx)
        assert type(raised.value) is error
    assert "could not be removed" in str(ctx.told.logs)
    assert "device or resource busy" in str(ctx.told.logs)
    assert not ctx.told.usage[-1]["is_last"]
    assert "could not be read" in ctx.told.usage[-1]["reason"]


def test_a_stop_stays_a_stop_where_the_container_cannot_be_removed(
    engine: FakeEngine, tmp_path: Path
) -> None:
    """A run that was stopped is not told as failed."""
    engine.says("start", out="50%\n", waits=True)
    engine.says("rm", **BUSY)
    with pytest.raises(Cancelled):
        run(context(tmp_path, stop_at=0.5))


def test_a_run_that_is_killed_before_its_container_was_seen_has_no_complete_bill(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the start it is told that figures are unknown and not the last."""
    ctx = context(tmp_path)
    told_before: list[dict[str, Any]] = []

    def killed(*_: object, **__: object) -> None:
        told_before.extend(ctx.told.usage)
        raise SystemExit

    monkeypatch.setattr("handlers.containers.run.run_program", killed)
    with pytest.raises(SystemExit):
        run(ctx)
    (told,) = told_before
    assert not told["is_last"]
    assert told["cpu_user_s"] is told["cpu_system_s"] is told["ram_peak_bytes"] is None
    assert "nothing was seen yet" in told["reason"]
    assert engine.left == []
